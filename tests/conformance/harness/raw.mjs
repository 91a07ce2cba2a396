// TCP without manners: bytes out as the test has them, bytes in as they come.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { constants, inflateRawSync } from "node:zlib";
import { isRead } from "./arrival.mjs";
import { within } from "./inbox.mjs";

export class RawConnection {
  #server;
  #socket;
  #received = Buffer.alloc(0);
  #wake = () => {};
  #isEnded = false;

  static async open(server) {
    const connection = new RawConnection();
    const socket = connect(server.port, "127.0.0.1");
    connection.#server = server;
    connection.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => {
      connection.#received = Buffer.concat([connection.#received, bytes]);
      connection.#wake();
    });
    // A reset is an end like any other: what matters is what was answered before it.
    socket.on("error", () => {});
    socket.on("close", () => {
      connection.#isEnded = true;
      connection.#wake();
    });
    await within(new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject)), "not connected");
    return connection;
  }

  write(bytes) {
    this.#socket.write(bytes);
    return this;
  }

  /** Which port it comes from. */
  get port() {
    return this.#socket.localPort;
  }

  /** Waits until the server has read what was written. */
  async isRead() {
    await within(new Promise((resolve) => this.#socket.write("", resolve)), "not written");
    await isRead(this.#server, this.port);
  }

  /** The peer's side of the connection is gone, and what it sent is known. */
  destroy() {
    this.#socket.destroy();
  }

  /** The same by a reset. */
  reset() {
    this.#socket.resetAndDestroy();
  }

  /** Takes what `decode` finds at the start of the received bytes: `[value, size]`, or nothing to wait for more. */
  async take(decode, what) {
    for (;;) {
      const found = decode(this.#received);
      if (found) {
        this.#received = this.#received.subarray(found[1]);
        return found[0];
      }
      if (this.#isEnded) throw new Error(`the connection ended before ${what}: ${JSON.stringify(this.#received.toString("latin1"))}`);
      await within(new Promise((resolve) => (this.#wake = resolve)), `no ${what}`);
    }
  }

  /** Waits for the server to end the connection; resolves to what was still unread. */
  async ended() {
    while (!this.#isEnded) await within(new Promise((resolve) => (this.#wake = resolve)), "the connection was not ended");
    return this.#received.toString("latin1");
  }

  /** One HTTP answer: `{ status, headers, cookies, body }`; `cookies` are the values of all `set-cookie`, in order. */
  response() {
    return this.take(decodeResponse, "an HTTP answer");
  }
}

function decodeResponse(bytes) {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine, ...lines] = bytes.subarray(0, headEnd).toString("latin1").split("\r\n");
  const fields = lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]);
  const headers = Object.fromEntries(fields);
  const cookies = fields.filter(([name]) => name === "set-cookie").map(([, value]) => value);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  const start = headEnd + 4;
  if (headers["transfer-encoding"] === "chunked") {
    const chunked = decodeChunks(bytes, start);
    return chunked && [{ status, headers, cookies, body: chunked.body }, chunked.end];
  }
  const size = status === 101 ? 0 : Number(headers["content-length"] ?? 0);
  if (bytes.length < start + size) return undefined;
  return [{ status, headers, cookies, body: bytes.subarray(start, start + size).toString() }, start + size];
}

function decodeChunks(bytes, start) {
  let body = "";
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = parseInt(bytes.subarray(at, lineEnd).toString(), 16);
    const end = lineEnd + 2 + size + 2;
    if (bytes.length < end) return undefined;
    body += bytes.subarray(lineEnd + 2, lineEnd + 2 + size).toString();
    if (size === 0) return { body, end };
    at = end;
  }
}

/** A WebSocket whose every bit the test decides. */
export class RawWebSocket {
  #connection;

  /** After the handshake; what the server sends first is still to be read. */
  static async open(server, options = {}) {
    const wire = new RawWebSocket();
    wire.#connection = await RawConnection.open(server);
    wire.#connection.write(upgradeHead(options));
    assert.equal((await wire.#connection.response()).status, 101);
    return wire;
  }

  /** With a joined Socket.IO socket in "/", whose id is `id`. */
  static async join(server, headers = {}) {
    const wire = await RawWebSocket.open(server, { headers });
    wire.engineSid = JSON.parse((await wire.next()).text.slice(1)).sid;
    wire.send(frame({ text: "40" }));
    wire.id = JSON.parse((await wire.next()).text.slice(2)).sid;
    return wire;
  }

  send(bytes) {
    this.#connection.write(bytes);
    return this;
  }

  /** One frame: `{ opcode, text, payload }`. */
  next() {
    return this.#connection.take(decodeFrame, "a frame");
  }

  /** Waits for the end; resolves to the code of the close frame, 1005 for one without, 1006 if there was none. */
  async closeCode() {
    for (;;) {
      let received;
      try {
        received = await this.next();
      } catch (error) {
        if (String(error).includes("the connection ended")) return 1006;
        throw error;
      }
      if (received.opcode !== OPCODE.close) continue;
      // The one who answers a close frame lets the other side finish.
      this.send(frame({ opcode: OPCODE.close, payload: received.payload }));
      await this.#connection.ended();
      return received.payload.length >= 2 ? received.payload.readUInt16BE(0) : 1005;
    }
  }

  isRead() {
    return this.#connection.isRead();
  }

  destroy() {
    this.#connection.destroy();
  }

  reset() {
    this.#connection.reset();
  }
}

export function upgradeHead({ query = "EIO=4&transport=websocket", headers = {} } = {}) {
  const all = {
    Host: "localhost",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET /socket.io/?${query} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/**
 * A frame as a client sends it, unless told otherwise. `declared` is the length it claims, `lengthBytes` (0, 2 or 8)
 * how it writes it.
 */
export function frame({ text, payload = Buffer.from(text ?? ""), opcode = OPCODE.text, fin = true, rsv = 0, masked = true, declared = payload.length, lengthBytes }) {
  const bytes = lengthBytes ?? (declared < 126 ? 0 : declared < 65_536 ? 2 : 8);
  const head = Buffer.alloc(2 + bytes);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (bytes === 0 ? declared : bytes === 2 ? 126 : 127);
  if (bytes === 2) head.writeUInt16BE(declared, 2);
  if (bytes === 8) head.writeBigUInt64BE(BigInt(declared), 2);
  if (!masked) return Buffer.concat([head, payload]);
  const key = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  return Buffer.concat([head, key, payload.map((byte, index) => byte ^ key[index % 4])]);
}

function decodeFrame(bytes) {
  if (bytes.length < 2) return undefined;
  assert.equal(bytes[1] & 0x80, 0, "a server masks nothing");
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
  let payload = Buffer.from(bytes.subarray(start, start + length));
  // Compressed by permessage-deflate, its sender keeping no context.
  if (bytes[0] & 0x40) payload = inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH });
  return [{ fin: (bytes[0] & 0x80) !== 0, opcode: bytes[0] & 0x0f, payload, text: payload.toString() }, start + length];
}
