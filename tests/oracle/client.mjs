// One client of a script on one server: its session, its connections, and what it knows from what it heard.

import { createHash } from "node:crypto";
import { constants, deflateRawSync } from "node:zlib";
import { OPCODE } from "../conformance/harness/raw.mjs";
import { asMsgpack, readMsgpack } from "./msgpack.mjs";
import { decodePayload, encodePayload, parseMessage } from "./packets.mjs";
import { Connection } from "./wire.mjs";

const PATH = "/socket.io/";
const KEY = "AAAAAAAAAAAAAAAAAAAAAA==";
const ACCEPT = createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

export class Client {
  eio = 4;
  sid = undefined;
  transport = undefined;
  /** The connection of the session's WebSocket. */
  wire = undefined;
  /** A WebSocket beside a polling session. */
  probe = undefined;
  isProbing = false;
  isUpgraded = false;
  /** The connection whose GET is not answered yet. */
  polling = undefined;
  /** That GET was left without an answer when everything was at rest. */
  hasHung = false;
  wantsPoll = false;
  /** A client of revision 3 is in "/" without having asked: its CONNECT is read before anything else. */
  isUngreeted = false;
  /** A POST of which a part is missing: `{ connection, rest }`. */
  half = undefined;
  /** Acknowledgements that the server waits for: `{ namespace, id }`. */
  asks = [];
  /** What a socket needs to be recovered, by namespace: `{ pid, offset }`. */
  past = new Map();

  #port;
  #index;
  #play;
  #kept = new Map();
  #sessions = [];
  #connections = new Set();
  #headers = {};
  #query = {};
  #isKept = false;
  /** What its WebSockets ask for: extensions. */
  #offer = undefined;
  #idCount = 0;
  #isJsonp = false;
  #isToldGone = false;
  #isMsgpack;

  constructor(index, port, play, { isMsgpack = false } = {}) {
    this.#isMsgpack = isMsgpack;
    this.#index = index;
    this.#port = port;
    this.#play = play;
  }

  get connections() {
    return this.#connections;
  }

  get hasSession() {
    return this.sid !== undefined;
  }

  /** The session is over, as far as its client can know. */
  get isGone() {
    return this.transport === "websocket" ? this.wire === undefined || this.wire.isEnded : this.#isToldGone;
  }

  open({ transport, eio = 4, query = {}, headers = {}, isKept = false, offer }) {
    Object.assign(this, { eio, transport, sid: undefined, wire: undefined, asks: [] });
    this.#headers = headers;
    this.#query = query;
    this.#isKept = isKept;
    this.#offer = offer;
    this.#isToldGone = false;
    Object.assign(this, { polling: undefined, wantsPoll: false, half: undefined, probe: undefined, isProbing: false, isUpgraded: false });
    this.#isJsonp = query.j !== undefined && transport === "polling";
    if (transport === "websocket") {
      this.wire = this.#websocket("ws", {});
      this.wire.isGreeting = eio === 3;
      return;
    }
    this.#ask("open", "GET", this.target({}), {
      onAnswer: (answer) => this.#polled("open", answer),
    });
  }

  target(query) {
    const { sid } = this;
    const all = { EIO: this.eio, transport: this.transport, ...this.#query, ...(sid ? { sid } : {}), ...query };
    return `${PATH}?${new URLSearchParams(all)}`;
  }

  // Polling -----------------------------------------------------------------------------------------------------------

  poll(label = "poll") {
    if (label === "poll") this.hasHung = false;
    const connection = this.#ask(label, "GET", this.target({ transport: "polling" }), {
      headers: this.#headers,
      onAnswer: (answer) => {
        if (this.polling === connection) this.polling = undefined;
        return this.#polled(label, answer);
      },
    });
    if (label === "poll") this.polling = connection;
  }

  abortPoll() {
    this.polling?.destroy();
    this.polling = undefined;
    this.#isToldGone = true;
  }

  /** Packets in a POST, or as frames. */
  send(list, { isDeflated = false } = {}) {
    const packets = this.#isMsgpack ? asMsgpack(list) : list;
    if (this.transport === "websocket") {
      const frames = packets.map(({ text, base64 }) => (text !== undefined ? { text } : this.#binaryFrame(base64)));
      if (this.wire?.isWebSocket) this.wire.frames(isDeflated && this.wire.isDeflating ? frames.map(deflated) : frames);
      return;
    }
    if (packets.some(({ text }) => text === "1")) this.#isToldGone = true;
    const payload = encodePayload(packets, this.eio);
    if (this.#isJsonp) {
      const escaped = payload.replace(/\\n/g, "\\\\n").replace(/\n/g, "\\n");
      this.post({ body: `d=${encodeURIComponent(escaped)}`, headers: { "Content-Type": "application/x-www-form-urlencoded" } });
    } else this.post({ body: payload });
  }

  #binaryFrame(base64) {
    const data = Buffer.from(base64, "base64");
    return { opcode: OPCODE.binary, payload: this.eio === 4 ? data : Buffer.concat([Buffer.from([4]), data]) };
  }

  post({ body, headers = {}, isChunked = false }) {
    const all = { "Content-Type": "text/plain;charset=UTF-8", ...this.#headers, ...headers };
    if (!isChunked) return void this.#ask("post", "POST", this.target({ transport: "polling" }), { headers: all, body });
    const bytes = Buffer.from(body);
    const chunk = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n0\r\n\r\n")]);
    this.#ask("post", "POST", this.target({ transport: "polling" }), { headers: { ...all, "Transfer-Encoding": "chunked" }, body: chunk });
  }

  /** The first `size` bytes of a POST. */
  beginPost({ body, size }) {
    const bytes = Buffer.from(body);
    const connection = this.#connect("half");
    connection.request("half", "POST", this.target({ transport: "polling" }), {
      headers: this.#headers,
      body: bytes.subarray(0, size),
      declared: bytes.length,
    });
    this.half = { connection, rest: bytes.subarray(size) };
  }

  finishPost() {
    const { connection, rest } = this.half;
    this.half = undefined;
    for (const request of connection.pending) request.label = "post";
    connection.write(rest);
  }

  abortPost() {
    this.half.connection.destroy();
    this.half = undefined;
  }

  request({ method, path, query, headers = {}, body }) {
    const own = this.sid ?? "AAAAAAAAAAAAAAAAAAAA";
    const search = query === undefined ? "" : `?${query.replaceAll("$sid", encodeURIComponent(own))}`;
    this.#ask("request", method, `${path}${search}`, { headers, body });
  }

  /** Bytes that are to be a request, or several. */
  raw({ pieces, methods = ["GET"] }) {
    const connection = this.#connect("raw");
    // Who gets less than he asked for is owed an end.
    for (const method of methods) connection.pending.push({ label: "raw", method, onAnswer: (answer) => void (connection.mustEnd ||= answer.headers.connection === "close") });
    connection.write(...pieces.map((piece) => piece.replaceAll("$sid", encodeURIComponent(this.sid ?? "AAAAAAAAAAAAAAAAAAAA"))));
  }

  // WebSocket ---------------------------------------------------------------------------------------------------------

  beginProbe() {
    this.probe?.destroy();
    this.probe = this.#websocket("probe", { sid: this.sid, transport: "websocket" });
  }

  sendProbe(text) {
    this.probe.frames([{ text }]);
    if (text === "2probe") this.isProbing = true;
    if (text !== "5") return;
    if (this.transport !== "polling") return;
    Object.assign(this, { wire: this.probe, probe: undefined, isProbing: false, isUpgraded: true, transport: "websocket" });
    this.wire.label = "ws";
  }

  #websocket(label, query) {
    const connection = this.#connect(label);
    const upgrade = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY };
    if (this.#offer !== undefined) upgrade["Sec-WebSocket-Extensions"] = this.#offer;
    connection.request("handshake", "GET", this.target(query), {
      headers: { ...upgrade, ...this.#headers },
      onAnswer: (answer) => {
        const accept = answer.headers["sec-websocket-accept"];
        if (accept === ACCEPT) answer.headers["sec-websocket-accept"] = "(right)";
        if (answer.headers.connection === "close") connection.mustEnd = true;
      },
    });
    return connection;
  }

  // What comes --------------------------------------------------------------------------------------------------------

  #ask(label, method, target, { headers = this.#headers, body, onAnswer }) {
    const connection = this.#connect(label);
    connection.request(label, method, target, {
      headers,
      body,
      onAnswer: (answer) => {
        if (answer.status === 400 && answer.body.includes("Session ID unknown") && label !== "request") this.#isToldGone = true;
        if (answer.headers.connection === "close") connection.mustEnd = true;
        const isTaken = onAnswer?.(answer);
        // A kept connection serves the next request of its kind; the others have done what they were made for.
        if (answer.headers.connection !== "close" && !this.#isKept) queueMicrotask(() => connection.retire());
        return isTaken;
      },
    });
    return connection;
  }

  #connect(label) {
    const kept = this.#kept.get(label);
    if (kept && !kept.isEnded && kept.pending.length === 0) return kept;
    const connection = new Connection(this.#port, (entry) => this.#heard(connection, entry), this.#play.onChange);
    Object.assign(connection, { label, client: this.#index });
    this.#connections.add(connection);
    if (this.#isKept && ["post", "poll", "open"].includes(label)) this.#kept.set(label, connection);
    return connection;
  }

  #polled(label, answer) {
    const packets = answer.status === 200 ? decodePayload(answer, this.eio) : undefined;
    if (!packets) {
      this.#play.record(this.#index, label, { kind: "answer", label, ...answer });
      return true;
    }
    if (this.#isMsgpack) packets.forEach((packet, index) => (packets[index] = this.#readPacked(packet)));
    else for (const packet of packets) this.#observe(packet);
    const { status, headers, body } = answer;
    const wrapper = /^___eio\[\d*\]\(/.exec(body.toString())?.[0];
    this.#play.record(this.#index, label, { kind: "poll", status, headers, wrapper, packets });
    if (label === "open") this.isUngreeted = this.eio === 3 && !packets.includes("40") && packets.length > 0 && !this.#isToldGone;
    const isOver = packets.some((packet) => packet === "1");
    if (isOver) this.#isToldGone = true;
    if (label === "poll" && this.hasHung && !isOver && !this.isProbing && this.transport === "polling") this.wantsPoll = true;
    return true;
  }

  #heard(connection, entry) {
    if (entry.kind === "frame") {
      if (entry.text === "40" || connection.isClosed) connection.isGreeting = false;
      const read = this.#isMsgpack && entry.opcode === OPCODE.binary ? readMsgpack(Buffer.from(entry.hex, "hex")) : undefined;
      if (read) {
        this.#observe(read.text);
        Object.assign(entry, { text: read.mark + read.text, hex: undefined });
      } else if (entry.text !== undefined) this.#observe(entry.text);
      // Who gets a close frame answers it.
      if (entry.opcode === OPCODE.close && !connection.hasSaidClose) {
        connection.hasSaidClose = true;
        const payload = typeof entry.code === "number" && entry.code !== 1005 ? Buffer.from([entry.code >> 8, entry.code & 255]) : Buffer.alloc(0);
        connection.frames([{ opcode: OPCODE.close, payload }]);
      }
    }
    if (entry.kind === "end" && this.polling === connection) this.polling = undefined;
    if (entry.kind === "end" && this.probe === connection) this.isProbing = false;
    // An idle kept connection may end at any time.
    if (entry.kind === "end" && this.#kept.get(connection.label) === connection && !entry.unanswered) return;
    this.#play.record(this.#index, connection.label, entry);
  }

  /** A packet of a polling payload that may be a message of msgpack. */
  #readPacked(packet) {
    const read = packet[0] === "b" ? readMsgpack(Buffer.from(packet.slice(1), "base64")) : undefined;
    this.#observe(read?.text ?? packet);
    return read ? read.mark + read.text : packet;
  }

  #observe(text) {
    if (text[0] === "0" && this.sid === undefined) {
      this.sid = JSON.parse(text.slice(1)).sid;
      this.#sessions.push({ sid: this.sid, eio: this.eio, isJsonp: this.#isJsonp });
      this.#play.name(this.sid, `(session ${this.#sessions.length} of client ${this.#index})`);
      return;
    }
    const message = parseMessage(text);
    if (!message) return;
    const { type, namespace, id, json } = message;
    if (type === 0 && json.startsWith("{")) {
      const { sid, pid } = JSON.parse(json);
      this.#idCount += 1;
      this.#play.name(sid, `(socket ${this.#idCount} of client ${this.#index})`);
      if (!pid) return;
      this.#play.name(pid, `(pid ${this.#idCount} of client ${this.#index})`);
      const offset = this.past.get(namespace)?.offset;
      this.past.set(namespace, { pid, offset });
    }
    if ((type === 2 || type === 5) && id !== undefined) this.asks.push({ namespace, id });
    if ((type === 2 || type === 5) && id === undefined && this.past.has(namespace)) {
      const last = JSON.parse(json).at(-1);
      if (typeof last === "string") this.past.get(namespace).offset = last;
    }
  }

  /** The last of its connections end. */
  hangUp() {
    for (const connection of this.#connections) connection.destroy();
  }

  /** Ends its sessions, so that the server has nothing left of this client. */
  sayGoodbye() {
    return this.#sessions.map(({ sid, eio, isJsonp }) => {
      const target = `${PATH}?EIO=${eio}&transport=polling&sid=${encodeURIComponent(sid)}`;
      const body = `${isJsonp ? "d=" : ""}${eio === 4 ? "1" : "1:1"}`;
      return new Promise((resolve) => {
        const connection = new Connection(this.#port, () => {
          connection.destroy();
          resolve();
        }, () => {});
        connection.request("goodbye", "POST", target, { body, headers: { "Content-Type": "text/plain" } });
      });
    });
  }
}

/** A frame compressed by itself, as permessage-deflate has it. */
function deflated({ text, payload = Buffer.from(text), opcode }) {
  const whole = deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH });
  return { ...(opcode === undefined ? {} : { opcode }), rsv: 4, payload: whole.subarray(0, -4) };
}
