// Payloads and packets as text, for both revisions of Engine.IO: what the player sends and how it reads what comes.
//
// A packet here is a string with its type in front (`42["a"]`), or `b` and base64 for a binary message.

const SEPARATOR = "\x1e";

/** The body of a POST with these packets. */
export function encodePayload(packets, eio) {
  if (eio === 4) return packets.map((packet) => packet.text ?? `b${packet.base64}`).join(SEPARATOR);
  return packets
    .map((packet) => packet.text ?? `b4${packet.base64}`)
    .map((packet) => `${packet.length}:${packet}`)
    .join("");
}

/** The packets in the body of an answer to a GET, or `undefined` if it is no payload. */
export function decodePayload(answer, eio) {
  let text = answer.body.toString();
  const jsonp = /^___eio\[(\d*)\]\((.*)\);$/s.exec(text);
  if (jsonp) text = JSON.parse(jsonp[2]);
  if (eio === 4) return text.split(SEPARATOR);
  return answer.headers["content-type"] === "application/octet-stream" ? decodeBinary(answer.body) : decodeCounted(text);
}

/** `<length>:<packet>` again and again; lengths in UTF-16 units. */
function decodeCounted(text) {
  const packets = [];
  for (let at = 0; at < text.length; ) {
    const colon = text.indexOf(":", at);
    const length = Number(text.slice(at, colon));
    if (colon < 0 || !Number.isInteger(length)) return undefined;
    packets.push(text.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return packets;
}

/** `00` text or `01` binary, the length in single digits, `ff`, data. */
function decodeBinary(body) {
  const packets = [];
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf(0xff, at);
    if (end < 0) return undefined;
    const length = Number([...body.subarray(at + 1, end)].join(""));
    const data = body.subarray(end + 1, end + 1 + length);
    packets.push(body[at] === 0 ? data.toString() : `b${data.subarray(1).toString("base64")}`);
    at = end + 1 + length;
  }
  return packets;
}

/** What a Socket.IO packet in this Engine.IO packet says: `{ type, namespace, id, json }`, or `undefined`. */
export function parseMessage(text) {
  const found = /^4(\d)(?:(\d+)-)?(?:(\/[^,]*)(?:,|$))?(\d+)?(.*)$/s.exec(text);
  if (!found) return undefined;
  const [, type, attachments, namespace = "/", id, json] = found;
  return { type: Number(type), attachments, namespace, id, json };
}
