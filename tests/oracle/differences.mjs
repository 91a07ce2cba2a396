// What differs on purpose, each with a name of its own and as narrowly as it can be said; the reasons are in
// DIFFERENCES.md.
//
// `reconcile(node, ours, context)` gets the entries of one channel in one step (or a socket's log) and gives both as they
// would be without the difference, or nothing if it does not concern them.

import { deflateRawSync, gzipSync } from "node:zlib";

export const DIFFERENCES = [
  {
    // Node: `Keep-Alive: timeout=5` beside `Connection: keep-alive`.
    name: "keep-alive-timeout",
    reconcile: (node, ours) => [node.map(withoutHeader("keep-alive", /^timeout=\d+$/)), ours],
  },
  {
    // Node knows no length when it refuses and sends a chunk.
    name: "refusals-have-a-length",
    reconcile: (node, ours) => [node.map((entry) => (entry?.status >= 400 ? withLength(entry, entry.headers.connection === "close" && entry.body === "") : entry)), ours],
  },
  {
    // Node compresses while it sends, in chunks.
    name: "compressed-polls-have-a-length",
    reconcile: (node, ours) => [node.map((entry) => (entry?.kind === "poll" && entry.headers["content-encoding"] ? withLength(entry) : entry)), ours],
  },
  {
    // Packets made in one turn travel in one answer to a GET; Node answers with the first and keeps the others for the next.
    name: "polls-joined",
    reconcile: (node, ours) => withoutSizes(joinPolls(node), joinPolls(ours)),
  },
  {
    // A refused request may have a body that nobody reads: the connection ends behind the answer. Node keeps it.
    name: "refusals-end-the-connection",
    reconcile: (node, ours) => [node, node.some((entry) => entry?.headers?.connection === "close") ? ours : keptAlive(ours)],
  },
  {
    // A WebSocket handshake that is none is told to `connection_error`, as all refusals are; in Node, `ws` keeps it to itself.
    name: "refused-handshakes-are-told",
    reconcile: (node, ours, { where, reference }) => (where === "log" ? [node, withoutRefusals(ours, node, refusedHandshakes(reference))] : undefined),
  },
  {
    // Where bytes are no msgpack, Node hands on what its decoder or JavaScript had to say.
    name: "texts-of-the-msgpack-decoder",
    reconcile: (node, ours, { where, script }) => (where === "log" && script.suite === "oracle-msgpack" ? [inOurWords(node, ours), ours] : undefined),
  },
  {
    // The versions of the WebSocket protocol that are spoken: Node takes the draft 8 too.
    name: "one-version-of-websocket",
    reconcile: (node, ours) => [node.map((entry) => (entry?.status === 400 && entry.headers["sec-websocket-version"] === "13, 8" ? { ...entry, headers: { ...entry.headers, "sec-websocket-version": "13" } } : entry)), ours],
  },
  {
    // What does not get shorter is sent as it is.
    name: "compressed-if-shorter",
    reconcile: (node, ours, { where }) => (/ (ws|probe|poll|open)$/.test(where) ? [node.map((entry, index) => [ours[index], ...ours].find((own) => staysAsItIs(entry, own)) ?? entry), ours] : undefined),
  },
  {
    // `42` without a payload is an event without a name: nobody hears of it, not even `onAny` listeners.
    name: "event-without-a-name",
    reconcile: (node, ours, { where }) => (where === "log" ? [node.filter((row) => JSON.stringify(row) !== '["any","undefined",0]'), ours] : undefined),
  },
  {
    // Node calls `onAny` listeners for an event whose socket has left between its arrival and their turn.
    name: "any-after-disconnect",
    reconcile: (node, ours, { where }) => (where === "log" ? lifeByLife(node, ours, withoutLate) : undefined),
  },
  {
    // The decoder of Node trips over a message without a character.
    name: "text-of-an-empty-message",
    reconcile: (node, ours, { where }) =>
      where === "log" ? [node.map((row) => (row[0] === "error" && row[1] === "Cannot read properties of undefined (reading 'base64')" ? ["error", "an empty message"] : row)), ours] : undefined,
  },
  {
    // What a middleware of events refuses (or an event of the name `error`) is told on the next tick, behind the `onAny` listeners of what came along.
    name: "refused-event-told-at-once",
    reconcile: (node, ours, { where }) => (where === "log" ? [toldAtOnce(node), ours] : undefined),
  },
  {
    // A POST of which a part is missing is cut off when another one overlaps it; Node leaves it if the session was closing.
    name: "half-post-of-a-closing-session",
    reconcile: (node, ours, { where, step }) => (/ half$/.test(where) && ["postOverlap", "post", "send", "answer"].includes(step?.op) && node.length === 0 && JSON.stringify(ours) === '[{"kind":"end","unanswered":["half"]}]' ? [[], []] : undefined),
  },
  {
    // So that one has an answer of Node when the missing part comes.
    name: "half-post-of-a-closing-session-answered",
    reconcile: (node, ours, { where, step, known }) =>
      known.has("half-post-of-a-closing-session") && / half$/.test(where) && step?.op === "postEnd" && ours.length === 0 && node.length === 1 && node[0].status === 200 && node[0].body === "ok" ? [[], []] : undefined,
  },
  {
    // A CONNECT that is refused, and behind it in the same delivery what ends the session: nobody is left to be told of the refusal.
    name: "refusal-before-the-end",
    reconcile: (node, ours, { where, step, script }) => {
      if (!/ (ws|poll)$/.test(where)) return undefined;
      if (step?.op === "send" && step.packets.length > 1 && isClosing(ours)) return [node.filter((entry) => !isRefusalAskedFor(entry, step)), ours];
      // A client that polls reads it later.
      const sent = step?.op === "poll" ? script.steps.slice(0, script.steps.indexOf(step)).findLast(({ op, c }) => op === "send" && c === step.c) : undefined;
      return sent?.packets.length > 1 ? withoutRefusalsOf(sent, node, ours) : undefined;
    },
  },
  {
    // Node adds what it read for the type: `unknown packet type NaN`.
    name: "unknown-type-without-its-name",
    reconcile: (node, ours, { where }) =>
      where === "log" ? [node.map((row) => (row[0] === "error" && /^unknown packet type \S+$/.test(row[1]) ? ["error", "unknown packet type"] : row)), ours] : undefined,
  },
  {
    // A HEAD is refused with the headers that a GET would get; Node leaves the length out.
    name: "length-of-a-refused-head",
    reconcile: (node, ours, { step }) => (step?.method === "HEAD" ? [node, ours.map(withoutHeader("content-length", /^/, (entry) => entry.status >= 400))] : undefined),
  },
  {
    // After a packet that the decoder refuses, Node's sockets of a polling client stay until its next GET, POST or silence
    // ends the transport, or a handler ends them, and give that as the reason. Ours leave at once.
    name: "violators-leave-at-once",
    reconcile: (node, ours, { where }) => (where === "log" ? lifeByLife(node, ours, leftAtOnce) : undefined),
  },
  {
    // A GET that was on its way when the client's POST said goodbye is answered with a noop for one second.
    name: "get-behind-a-goodbye",
    reconcile: (node, ours, { where }) => (/ (poll|request)$/.test(where) ? [node, ours.map((entry, index) => (isLateGet(node[index], entry) ? node[index] : entry))] : undefined),
  },
  {
    // So does the log of refusals: that GET was none.
    name: "get-behind-a-goodbye-refused",
    reconcile: (node, ours, { where, known }) => (where === "log" && known.has("get-behind-a-goodbye") ? [node.filter(isNoUnknownSid), ours.filter(isNoUnknownSid)] : undefined),
  },
  {
    // Arguments are handed on as they came: `1.0` stays `1.0`, attachments keep their number, and those that no
    // placeholder names travel along. Node reads and writes them again.
    name: "arguments-as-they-came",
    reconcile: (node, ours, { where }) => (/ (ws|poll)$/.test(where) ? [readAgain(node), readAgain(ours)] : undefined),
  },
  {
    // A CONNECT is answered in its turn; Node answers it some ticks later, behind what came along for other namespaces.
    name: "connect-in-its-turn",
    reconcile: (node, ours, { script }) => (script.steps.some(({ packets = [] }) => packets.length > 1 && packets.some(({ text }) => text?.startsWith("40"))) ? [byNamespace(node), byNamespace(ours)] : undefined),
  },
];

/** `change` for the log of a socket from each `connection` on: a recovered one has several lives. */
function lifeByLife(node, ours, change) {
  const lives = (rows) => rows.reduce((all, row) => (row[0] === "connection" ? [...all, [row]] : all.with(-1, [...all.at(-1), row])), [[]]);
  const [theirs, own] = [lives(node), lives(ours)];
  return theirs.length === own.length ? [theirs.flatMap((life, index) => change(life, own[index])), ours] : [node, ours];
}

/** Differences behind which two sessions are no longer the same: what follows in the script is not compared. */
export const FORKS = [
  {
    // A socket that was recovered is not recovered from the same past again, which Node allows until that expires.
    name: "recovered-once",
    // A client that polls reads it in a later step.
    isMet: (node, ours, { step, script, index }) =>
      (step?.recover || step?.op === "poll") && hasTriedAgain(script.steps.slice(0, index + 1).filter(({ c }) => c === step.c)) && [node, ours].every((side) => /40(\/[^,]*,)?\{\\*"sid/.test(JSON.stringify(side))),
  },
  {
    // A CONNECT is answered in its turn, also in front of what ends the session in the same delivery; Node has nobody left to answer then.
    name: "connect-in-its-turn",
    isMet: (node, ours, { step, where }) => {
      if (!/ (ws|poll)$/.test(where) || step?.op !== "send" || !isClosing(node.slice(-2)) || !isClosing(ours.slice(-2))) return false;
      const asked = new Set(step.packets.slice(0, -1).flatMap(({ text }) => (text?.startsWith("40") ? [PACKET.exec(text)[1] ?? "/"] : [])));
      const isOfThose = ({ kind, text }) => PACKET.test(text ?? kind) && asked.has(PACKET.exec(text ?? kind)[1] ?? "/");
      return !node.some(isOfThose) && JSON.stringify(node) === JSON.stringify(ours.filter((entry) => !isOfThose(entry)));
    },
  },
  {
    // Who has broken the protocol is not counted as present: others who ask for sockets do not find it, and do not wait for its answer.
    name: "violators-leave-at-once",
    isMet: (node, ours, { where, log }) => {
      if (!/ (ws|poll)$/.test(where) || !Object.values(log).some(isViolator)) return false;
      if (endsEarlier(surveysOf(node), surveysOf(ours))) return true;
      const [theirs, own] = [answersOf(node), answersOf(ours)];
      return theirs.length === own.length && theirs.some(({ length }, at) => length > own[at].length) && theirs.every((found, at) => own[at].every((one) => found.includes(one)));
    },
  },
  {
    // The refusal that is lost with the end behind it (see above) is all that a poll of Node's has; the end comes with its next one.
    name: "refusal-before-the-end",
    isMet: (node, ours, { step, where, script, index }) => {
      if (!/ poll$/.test(where) || step?.op !== "poll") return false;
      const sent = script.steps.slice(0, index).findLast(({ op, c }) => op === "send" && c === step.c);
      const left = sent?.packets.length > 1 ? withoutRefusalsOf(sent, node, ours)?.[0] : undefined;
      const isTold = left?.length === 1 && node[0].packets?.length > 0 && left[0].packets?.length === 0;
      return isTold && JSON.stringify(ours.map(({ packets }) => packets)) === '[["6","1"]]';
    },
  },
  {
    // The close packet of Engine.IO over a WebSocket: Node ignores it, ours closes.
    name: "close-packet-over-websocket",
    isMet: (node, ours, { step, where }) =>
      / ws$/.test(where) && step?.op === "send" && step.packets.some(({ text }) => text === "1") && isClosing(ours.slice(-2)) && !node.some(({ kind }) => kind === "end"),
  },
  {
    // So others do not hear what its client says behind it.
    name: "close-packet-over-websocket",
    isMet: (node, ours, { step, where, script }) => {
      if (step?.op !== "send" || !/ (ws|poll)$/.test(where) || where.startsWith(`client ${step.c} `)) return false;
      const goodbye = step.packets.findIndex(({ text }) => text === "1");
      const isSpoken = script.steps.some(({ op, c, transport }) => c === step.c && (op === "upgrade" || (op === "open" && transport === "websocket")));
      return isSpoken && goodbye !== -1 && goodbye < step.packets.length - 1 && isPartOf(ours, node);
    },
  },
];

/**
 * The same where nobody has read the answer: Node recovered one past more than once, ours did not. Then the logs are not compared.
 */
export function isRecoveredAgain(node, ours, script) {
  const recoveries = (log) => Object.values(log).flat().filter(([what, , , isRecovered]) => what === "connection" && isRecovered === true).map(([, { pid }]) => pid);
  const hasTried = script.steps.some(({ c, recover }, at) => recover && script.steps.slice(0, at).some((step) => step.c === c && step.recover === recover));
  const [theirs, own] = [recoveries(node), recoveries(ours)];
  return hasTried && theirs.length > new Set(theirs).size && own.length < theirs.length;
}

/** A socket of ours that has heard of a broken packet and left for it. */
function isViolator(rows) {
  return rows.some(([what], at) => what === "error" && rows.slice(at).some(([then, reason]) => then === "disconnect" && reason === "forced close"));
}

/** Whether these are some of the others, in their order. */
function isPartOf(entries, others) {
  const packets = (all) => all.flatMap((entry) => entry.packets ?? [entry]).map((packet) => JSON.stringify(packet));
  const rest = packets(others);
  return packets(entries).every((packet) => rest.splice(0, rest.indexOf(packet) + 1 || rest.length + 1).at(-1) === packet) && rest.length > 0;
}

/** Of each survey that has ended among these entries whether that was in time. */
function surveysOf(entries) {
  const texts = entries.flatMap(({ kind, text, values, packets = [] }) => [text ?? "", values ? JSON.stringify(values) : "", ...(kind === "poll" && Array.isArray(packets) ? packets : [])]);
  return texts.flatMap((text) => [...text.matchAll(/\["surveyed",(true|false)/g)].map(([, isLate]) => isLate === "false"));
}

/** Ours has ended in time what Node still waits for, or has given up. */
function endsEarlier(theirs, own) {
  return theirs.length <= own.length && own.some((isInTime, at) => isInTime && !theirs[at]) && theirs.every((isInTime, at) => !isInTime || own[at]);
}

/** What the acks among these entries have found, each a list of texts. */
function answersOf(entries) {
  const plain = (text) => text?.replace(/^\(msgpack\) .* (?=43\d+\[)/s, "");
  const texts = entries.map((entry) => ({ ...entry, text: plain(entry.text), ...(entry.packets && { packets: entry.packets.map(plain) }) }));
  const packets = readAgain(texts).filter(({ kind }) => /^43/.test(kind));
  return packets.map(({ values }) => (typeof values[0] === "number" ? Array.from({ length: values[0] }, (_, number) => String(number)) : values.map((value) => JSON.stringify(value))));
}

function hasTriedAgain(steps) {
  return steps.some(({ recover }, at) => recover && steps.slice(0, at).some((step) => step.recover === recover));
}

/** Node's answers to polls without refusals, if ours has none, that this step has asked for before its last packet. */
function withoutRefusalsOf(sent, node, ours) {
  const asked = { packets: sent.packets.slice(0, -1) };
  const isTold = (text) => isRefusalAskedFor({ text }, asked);
  if (ours.some(({ packets = [] }) => packets.some(isTold))) return undefined;
  return [node.map((entry) => (entry.kind === "poll" && entry.packets.some(isTold) ? { ...entry, packets: entry.packets.filter((text) => !isTold(text)) } : entry)), ours];
}

/** `Invalid namespace`, for a namespace that this step has asked for. */
function isRefusalAskedFor({ text }, { packets }) {
  const [, name] = /^44(\/[^,]*),\{"message":"Invalid namespace"\}$/.exec(text ?? "") ?? [];
  return name !== undefined && packets.some((packet) => packet.text?.startsWith(`40${name}`));
}

function isClosing(entries) {
  return JSON.stringify(entries.map(({ kind, code, packets }) => code ?? packets ?? kind)) === '[1005,"end"]' || JSON.stringify(entries.map(({ packets }) => packets)) === '[["1"]]';
}

/** Node's log as it would be had the sockets left with the `error`: reason and rooms of then. */
function leftAtOnce(node, ours) {
  // An event of that name has been logged like it: the broken packet is the last.
  const at = node.findLastIndex(([what]) => what === "error");
  if (at < 0) return node;
  // Node's decoder throws before the handlers of what came in front of the packet have run, ours is told of in its turn.
  const turn = ours.findLastIndex(([what]) => what === "error");
  const rows = turn > at && node[turn] ? node.toSpliced(at, 1).toSpliced(turn, 0, node[at]) : node;
  return rows.map((row, index) => {
    if (index < at || !/^disconnect/.test(row[0])) return row;
    const own = ours.find(([what, reason]) => what === row[0] && reason === "forced close");
    if (!own || !["transport close", "transport error", "forced close", "server namespace disconnect"].includes(row[1])) return row;
    // Joined or left since; or before, by an event in the same body, which ours has not handled then.
    const isLater = Array.isArray(row[2]) && [[own[2], row[2]], [row[2], own[2]]].some(([some, all]) => some.every((room) => all.includes(room)));
    return [row[0], "forced close", isLater ? own[2] : row[2]];
  });
}

function toldAtOnce(rows) {
  const refused = rows.filter(([what, text]) => what === "error" && /^(blocked: .*|x)$/.test(text));
  const rest = rows.filter((row) => !refused.includes(row));
  return rest.flatMap((row) => (row[0] === "any" && /^(blocked|error)$/.test(row[1]) && refused.length > 0 ? [row, refused.shift()] : [row])).concat(refused);
}

function isNoUnknownSid([what, code]) {
  return what !== "refused" || code !== 1;
}

function isLateGet(node, ours) {
  const isNoop = JSON.stringify(ours?.packets) === '["6"]' || (ours?.status === 200 && ["6", "1:6"].includes(ours.body));
  return isNoop && node?.status === 400 && node.body.includes('"code":1');
}

/** A packet of Socket.IO and its namespace, in the text of the default parser or behind what msgpack made of it. */
const PACKET = /^(?:\(msgpack\) (?:.* )?)?4\d(\/[^,]*)?/s;

/** How many handshakes `ws` has refused in a record of Node. */
function refusedHandshakes(record) {
  const entries = (record?.steps ?? []).flatMap((channels) => Object.values(channels).flat());
  return entries.filter(({ status, body }) => status === 400 && /^(Missing or invalid|Invalid or unacceptable) Sec-WebSocket-\w+ header$/.test(body)).length;
}

/** Without at most `count` refusals of bad requests that `others` does not have in the same place. */
function withoutRefusals(rows, others, count) {
  let [at, left] = [0, count];
  return rows.filter((row) => {
    if (JSON.stringify(row) === JSON.stringify(others[at])) return (at += 1);
    if (left > 0 && JSON.stringify(row) === '["refused",3,"Bad request"]') return (left -= 1) < 0;
    return (at += 1);
  });
}

/** Texts of notepack.io, and what JavaScript and Node say when it trips over bytes. */
const NOTEPACK = /^(Could not parse|Invalid argument|Invalid byte \w+|-?\d+ trailing bytes|Cannot read properties of .*|Attempt to access memory outside buffer bounds|The value of "offset" is out of range.*|Offset is outside the bounds of the DataView|Invalid typed array length: \d+)$/;

/** Those as ours says it, which may find another fault first. */
function inOurWords(node, ours) {
  const texts = ours.filter(([what]) => what === "error");
  return node.map((row) => {
    if (row[0] !== "error") return row;
    const [, text] = texts.shift() ?? [];
    const isMeant = NOTEPACK.test(row[1]) && /^(malformed msgpack|text where msgpack should come|invalid (packet type|namespace|payload|packet id))$/.test(text);
    return isMeant ? ["error", text] : row;
  });
}

/** Node has compressed what is no shorter compressed, and ours has not; all else is equal. */
function staysAsItIs(node, ours) {
  if (!node || !ours || node.kind !== ours.kind) return false;
  // The ids of questions have more digits than Node's, which may be what reaches the threshold.
  const [shortest, longest] = ["0", "0".repeat(20)].map((id) => Buffer.byteLength((ours.text ?? "").replace(/\(ack \d+\)/, id)));
  if (ours.rsv === 0x40 && node.rsv === undefined && shortest < DEFLATE_FROM && longest >= DEFLATE_FROM) return JSON.stringify(without(ours, ["rsv"])) === JSON.stringify(node);
  if (node.kind === "frame" && node.rsv === 0x40 && ours.rsv === undefined) {
    const { rsv, ...rest } = node;
    const bytes = node.text === undefined ? Buffer.from(node.hex, "hex") : Buffer.from(node.text);
    return JSON.stringify(rest) === JSON.stringify(ours) && deflateRawSync(bytes).length >= bytes.length - slack(bytes);
  }
  if (node.kind !== "poll" || !node.headers["content-encoding"] || ours.headers["content-encoding"]) return false;
  const { "content-encoding": _, ...headers } = node.headers;
  const body = Buffer.from(node.packets.join("\x1e"));
  return JSON.stringify({ ...node, headers }) === JSON.stringify(ours) && gzipSync(body).length >= body.length - slack(body);
}

/** From as many bytes on a message is compressed in the suite `oracle-deflate`. */
const DEFLATE_FROM = 64;

/** Compressors differ by a few bytes, and the names of ids get shorter than the ids do. */
function slack(bytes) {
  return 4 + 16 * bytes.toString().split("(s").length;
}

/** The entries of each namespace in their order, one namespace after the other. */
function byNamespace(entries) {
  const namespaceOf = ({ kind, text }) => PACKET.exec(text ?? kind)?.[1] ?? "/";
  const isMessage = ({ kind, text }) => PACKET.test(text ?? kind);
  const names = [...new Set(entries.filter(isMessage).map(namespaceOf))].sort();
  return [...names.flatMap((name) => entries.filter((entry) => isMessage(entry) && namespaceOf(entry) === name)), ...entries.filter((entry) => !isMessage(entry))];
}

/** Packets with attachments as one, each attachment where its placeholder was, and all JSON as JavaScript writes it. */
function readAgain(entries) {
  const packets = [];
  let waiting;
  const take = (packet) => {
    if (packet.hex !== undefined && waiting) {
      waiting.attachments.push(packet.hex + (packet.rsv ? ", compressed" : ""));
    } else if (packet.text !== undefined) {
      const found = /^4([2356])(?:(\d+)-)?((?:\/[^,]*,)?(?:\d+|\(ack \d+\))?)(\[.*)$/s.exec(packet.text);
      if (!found) return void packets.push(packet);
      waiting = { kind: { 2: 2, 3: 3, 5: 2, 6: 3 }[found[1]], head: found[3], json: found[4], attachments: [], ...(packet.rsv ? { rsv: packet.rsv } : {}) };
      packets.push(waiting);
    } else packets.push(packet);
  };
  for (const entry of entries) {
    if (entry.kind === "frame" && entry.hex !== undefined && entry.opcode === 2) take({ hex: entry.hex, ...only(entry, "rsv", "fin") });
    // So older clients get bytes that have asked for text.
    else if (entry.kind === "frame" && /^b4/.test(entry.text ?? "")) take({ hex: Buffer.from(entry.text.slice(2), "base64").toString("hex"), ...only(entry, "rsv", "fin") });
    else if (entry.kind === "frame" && entry.text !== undefined) take({ text: entry.text, ...only(entry, "rsv", "fin") });
    else if (entry.kind === "poll") {
      for (const packet of entry.packets) take(packet[0] === "b" ? { hex: Buffer.from(packet.slice(packet[1] === "4" ? 2 : 1), "base64").toString("hex") } : { text: packet });
      // In revision 3 the attachments alone make a body binary.
      const type = entry.headers["content-type"] === "application/octet-stream" ? "text/plain; charset=UTF-8" : entry.headers["content-type"];
      packets.push({ ...entry, headers: { ...entry.headers, "content-type": type }, packets: "(above)" });
      waiting = undefined;
    } else {
      packets.push(entry);
    }
  }
  return packets.map((packet) => {
    if (!packet.attachments) return packet;
    const { kind, head, json, attachments, rsv } = packet;
    const values = JSON.parse(json, (_, value) => (value?._placeholder === true ? `(bytes ${attachments[value.num]})` : value));
    return { kind: `4${kind}${head}`, values, ...(rsv ? { rsv } : {}) };
  });
}

function only(entry, ...names) {
  return Object.fromEntries(names.filter((name) => entry[name] !== undefined).map((name) => [name, entry[name]]));
}

function withoutHeader(name, value, isMeant = () => true) {
  return (entry) => {
    if (!entry?.headers || !isMeant(entry) || !value.test(entry.headers[name] ?? "")) return entry;
    const { [name]: _, ...headers } = entry.headers;
    return { ...entry, headers };
  };
}

/**
 * Answers to GETs that follow each other and have the same head, as one with all packets. The first may set the cookie, and in
 * revision 3 those without a binary packet are text.
 */
function joinPolls(entries) {
  const joined = [];
  const head = ({ status, headers, wrapper }) => JSON.stringify([status, without(headers, ["set-cookie", "content-type", ...SIZES]), wrapper]);
  for (const entry of entries) {
    const last = joined.at(-1);
    const isSame = entry?.kind === "poll" && last?.kind === "poll" && entry.headers["set-cookie"] === undefined && head(entry) === head(last);
    if (isSame) {
      const isBinary = [last, entry].some(({ headers }) => headers["content-type"] === "application/octet-stream");
      const headers = isBinary ? { ...last.headers, "content-type": "application/octet-stream" } : last.headers;
      joined[joined.length - 1] = { ...last, headers, parts: [...last.parts, entry.packets.length], packets: [...last.packets, ...entry.packets] };
    } else joined.push(entry?.kind === "poll" ? { ...entry, parts: [entry.packets.length] } : entry);
  }
  return joined;
}

/** Headers that depend on how much a body holds: only large ones are compressed. */
const SIZES = ["content-encoding", "content-length", "transfer-encoding"];

/** Without them where the sides have spread packets differently over answers. */
function withoutSizes(node, ours) {
  const strip = (entries, others) =>
    entries.map((entry, index) => {
      if (entry?.parts === undefined) return entry;
      const { parts, ...rest } = entry;
      return `${parts}` === `${others[index]?.parts}` ? rest : { ...rest, headers: without(rest.headers, SIZES) };
    });
  return [strip(node, ours), strip(ours, node)];
}

function without(headers, names) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}

/** `isEmpty`: nothing follows, and the end of the connection says so. */
function withLength(entry, isEmpty = false) {
  if (entry.headers["transfer-encoding"] !== "chunked" && !(isEmpty && entry.headers["content-length"] === undefined)) return entry;
  const { "transfer-encoding": _, ...headers } = entry.headers;
  return { ...entry, headers: inOrder({ ...headers, "content-length": "(size of the body)" }) };
}

function keptAlive(entries) {
  const isLast = (entry) => entry?.status >= 400 && entry.headers.connection === "close";
  let ends = 0;
  return entries
    .filter((entry) => {
      if (isLast(entry)) ends += 1;
      if (entry?.kind !== "end" || entry.unanswered || ends === 0) return true;
      ends -= 1;
      return false;
    })
    .map((entry) => (isLast(entry) ? { ...entry, headers: { ...entry.headers, connection: "keep-alive" } } : entry));
}

/** Without the rows of an event that Node's listeners hear although its socket has left, or is about to. */
function withoutLate(node, ours) {
  const count = (rows, what) => rows.filter((row) => row[0] === what).length;
  if (count(ours, "disconnect") === 0) return node;
  const surplus = { any: count(node, "any") - count(ours, "any"), error: 0 };
  const end = node.findIndex(([what]) => what === "disconnect");
  if (end >= 0) surplus.error = count(node.slice(end), "error");
  // The last ones: they came right before the end, or were told behind it.
  const kept = [];
  for (const row of [...node].reverse()) {
    if (surplus[row[0]] > 0) surplus[row[0]] -= 1;
    else kept.unshift(row);
  }
  return kept;
}

function inOrder(headers) {
  return Object.fromEntries(Object.keys(headers).sort().map((name) => [name, headers[name]]));
}
