// One TCP connection: requests and frames out as the script has them, and a record of what came back, in order.
//
// Nothing here waits. Whoever plays looks at `pending` and `isEnded` and is told of every change by `onChange`.

import { connect } from "node:net";
import { constants, gunzipSync, inflateRawSync, inflateSync } from "node:zlib";
import { frame, OPCODE } from "../conformance/harness/raw.mjs";

/** Payload of the pings that only ask whether all that was sent has been read. */
const SYNC = "oracle-sync";
/** What permessage-deflate leaves out at the end of a message. */
const EMPTY_BLOCK = Buffer.from([0, 0, 0xff, 0xff]);

export class Connection {
  /** Answers that have not come yet, oldest first: `{ label, method, answer }`. */
  pending = [];
  isEnded = false;
  isWebSocket = false;
  /** Writes that the kernel has not taken yet. */
  unsent = 0;
  /** Sync pings on their way. */
  syncs = 0;
  /** A close frame has come. */
  isClosed = false;
  /** Messages may be compressed. */
  isDeflating = false;

  #socket;
  #bytes = Buffer.alloc(0);
  #record;
  #onChange;

  /** `record(entry)` is called with whatever arrives. */
  constructor(port, record, onChange) {
    this.#record = record;
    this.#onChange = onChange;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (bytes) => {
      this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
      this.#read();
      this.#onChange();
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#end());
    this.#socket.on("end", () => this.#end());
  }

  /** Bytes as they are. `pieces` are written one after the other, each as a packet of its own if the kernel agrees. */
  write(...pieces) {
    if (this.isEnded) return;
    for (const piece of pieces) {
      this.unsent += 1;
      this.#socket.write(piece, () => {
        this.unsent -= 1;
        this.#onChange();
      });
    }
  }

  /** A request; its answer is recorded under `label`, and given to `onAnswer`. */
  request(label, method, target, { headers = {}, body, declared, onAnswer } = {}) {
    this.pending.push({ label, method, onAnswer });
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const all = { Host: "localhost", ...headers };
    if (declared !== undefined) all["Content-Length"] = declared;
    else if (bytes && all["Transfer-Encoding"] === undefined) all["Content-Length"] = bytes.length;
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`);
    this.write(bytes ? Buffer.concat([head, bytes]) : head);
  }

  frames(list) {
    this.write(Buffer.concat(list.map((one) => frame(one))));
  }

  /** Asks whether everything sent so far has been read; the answer is not recorded. */
  sync() {
    this.syncs += 1;
    this.frames([{ opcode: OPCODE.ping, payload: Buffer.from(SYNC) }]);
  }

  /** FIN. */
  finish() {
    this.#socket.end();
  }

  /** It has done what it was made for. */
  retire() {
    if (this.pending.length === 0) this.destroy();
  }

  /** A reset instead of a FIN. */
  reset() {
    this.destroy(true);
  }

  /** The connection is of no more interest: what arrives is not recorded. */
  destroy(isReset = false) {
    this.isEnded = true;
    this.pending = [];
    this.#record = () => {};
    if (isReset) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  #end() {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#read(); // an answer without a length ends here
    if (this.pending.length > 0) this.#record({ kind: "end", unanswered: this.pending.map(({ label }) => label) });
    else this.#record({ kind: "end" });
    this.pending = [];
    this.#socket.destroy();
    this.#onChange();
  }

  #read() {
    while (this.#bytes.length > 0) {
      const isHttp = !this.isWebSocket || this.#bytes.subarray(0, 5).toString("latin1") === "HTTP/";
      const size = isHttp ? this.#readResponse() : this.#readFrame();
      if (size === undefined) return;
      this.#bytes = this.#bytes.subarray(size);
    }
  }

  #readResponse() {
    const asked = this.pending[0] ?? { label: "unasked", method: "GET" };
    const found = decodeResponse(this.#bytes, asked.method, this.isEnded);
    if (!found) return undefined;
    const [answer, size] = found;
    if (answer.status === 100) {
      this.#record({ kind: "answer", label: asked.label, ...answer });
      return size;
    }
    this.pending.shift();
    if (answer.status === 101) {
      this.isWebSocket = true;
      this.isDeflating = /^permessage-deflate\b/.test(answer.headers["sec-websocket-extensions"] ?? "");
    }
    const isTaken = asked.onAnswer?.(answer);
    if (!isTaken) this.#record({ kind: "answer", label: asked.label, ...answer });
    return size;
  }

  #readFrame() {
    const found = decodeFrame(this.#bytes);
    if (!found) return undefined;
    const [{ fin, rsv, opcode, isMasked, ...raw }, size] = found;
    const isDeflated = this.isDeflating && rsv === 0x40;
    const payload = isDeflated ? inflateRawSync(Buffer.concat([raw.payload, EMPTY_BLOCK]), { finishFlush: constants.Z_SYNC_FLUSH }) : raw.payload;
    if (opcode === OPCODE.pong && payload.toString() === SYNC) {
      this.syncs -= 1;
      return size;
    }
    const entry = { kind: "frame", opcode, ...(fin ? {} : { fin }), ...(isMasked ? { isMasked } : {}), ...(rsv !== 0 ? { rsv } : {}) };
    if (opcode === OPCODE.text) entry.text = payload.toString();
    else if (opcode === OPCODE.close) {
      this.isClosed = true;
      entry.code = payload.length >= 2 ? payload.readUInt16BE(0) : payload.length === 0 ? 1005 : "one byte";
      entry.reason = payload.subarray(2).toString();
    } else entry.hex = payload.toString("hex");
    this.#record(entry);
    return size;
  }
}

function decodeResponse(bytes, method, isEnded) {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine, ...lines] = bytes.subarray(0, headEnd).toString("latin1").split("\r\n");
  const headers = {};
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    const value = line.slice(line.indexOf(":") + 1).trim();
    headers[name] = name in headers ? `${headers[name]}\n${value}` : value;
  }
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  const start = headEnd + 4;
  const whole = (body, size) => [{ status, phrase: statusLine.slice(13), headers, body: unpack(headers, body) }, size];
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return whole(Buffer.alloc(0), start);
  if (headers["transfer-encoding"] === "chunked") {
    const chunked = decodeChunks(bytes, start);
    return chunked && whole(chunked.body, chunked.end);
  }
  if (headers["content-length"] === undefined) return isEnded ? whole(bytes.subarray(start), bytes.length) : undefined;
  const size = Number(headers["content-length"]);
  if (bytes.length < start + size) return undefined;
  return whole(bytes.subarray(start, start + size), start + size);
}

function unpack(headers, body) {
  const encoding = headers["content-encoding"];
  if (encoding === "gzip") return gunzipSync(body);
  if (encoding === "deflate") return inflateSync(body);
  return Buffer.from(body);
}

function decodeChunks(bytes, start) {
  const parts = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = parseInt(bytes.subarray(at, lineEnd).toString(), 16);
    const end = lineEnd + 2 + size + 2;
    if (bytes.length < end) return undefined;
    if (size === 0) return { body: Buffer.concat(parts), end };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = end;
  }
}

function decodeFrame(bytes) {
  if (bytes.length < 2) return undefined;
  let length = bytes[1] & 0x7f;
  let start = 2;
  if (length === 126) {
    if (bytes.length < 4) return undefined;
    [length, start] = [bytes.readUInt16BE(2), 4];
  } else if (length === 127) {
    if (bytes.length < 10) return undefined;
    [length, start] = [Number(bytes.readBigUInt64BE(2)), 10];
  }
  if (bytes.length < start + length) return undefined;
  const payload = Buffer.from(bytes.subarray(start, start + length));
  return [{ fin: (bytes[0] & 0x80) !== 0, rsv: bytes[0] & 0x70, opcode: bytes[0] & 0x0f, payload, isMasked: (bytes[1] & 0x80) !== 0 }, start + length];
}
