// Packets as socket.io-msgpack-parser has them: one binary message for a packet and its attachments.
//
// Scripts are written in the text of the default parser. What is not a packet there is sent as it is.

import { decodeMsgpack, encodeMsgpack } from "../conformance/harness/parsers.mjs";
import { parseMessage } from "./packets.mjs";

/** Marks what was a message of msgpack, so that no text can look like one. */
const MARK = "(msgpack) ";

/** `[{ text }, { base64 }, ...]` with each packet and its attachments as one binary message. */
export function asMsgpack(packets) {
  const messages = [];
  for (let at = 0; at < packets.length; at += 1) {
    const message = parseMessage(packets[at].text ?? "");
    const count = Number(message?.attachments ?? 0);
    const attachments = packets.slice(at + 1, at + 1 + count);
    const data = message && valueOf(message.json, attachments);
    if (data === undefined || attachments.length < count) {
      messages.push(packets[at]);
      continue;
    }
    at += count;
    const { type, namespace: nsp, id } = message;
    const packet = { type: { 5: 2, 6: 3 }[type] ?? type, nsp, ...(message.json === "" ? {} : { data }), ...(id === undefined ? {} : { id: Number(id) }) };
    messages.push({ base64: Buffer.from(encodeMsgpack(packet)).toString("base64") });
  }
  return messages;
}

/** `null` for no payload, `undefined` for one that is no JSON. */
function valueOf(json, attachments) {
  if (json === "") return null;
  try {
    return JSON.parse(json, (_, value) => (value?._placeholder === true ? Buffer.from(attachments[value.num].base64, "base64") : value));
  } catch {
    return undefined;
  }
}

/** A message as the text of the default parser, bytes in place, and as it came; or `undefined` if it is no packet. */
export function readMsgpack(bytes) {
  try {
    const { type, nsp, id, data } = decodeMsgpack(bytes);
    const json = data === undefined ? "" : JSON.stringify(data, withBytes);
    const text = `4${type}${nsp === "/" ? "" : `${nsp},`}${id ?? ""}${json}`;
    // The numbers of questions are the server's own, and so is their length.
    return { text, mark: type === 2 && id !== undefined ? MARK : `${MARK}${bytes.toString("latin1")} ` };
  } catch {
    return undefined;
  }
}

function withBytes(key, value) {
  const original = this[key];
  return Buffer.isBuffer(original) || ArrayBuffer.isView(original) ? `(bytes ${Buffer.from(original).toString("hex")})` : value;
}
