// The client's half of `engine/server/examples/cbor_parser`: packets in CBOR, large ones in several messages.
//
//   message   00 bytes    the last part of a packet
//             01 bytes    a part that others follow

import { EventEmitter } from "node:events";
import { decode, encode } from "cborg";

const PART_BYTES_MAX = 1000;

export const protocol = 5;
export const PacketType = { CONNECT: 0, DISCONNECT: 1, EVENT: 2, ACK: 3, CONNECT_ERROR: 4 };

export class Encoder {
  encode({ type, nsp, id, data }) {
    const bytes = encode(present({ type, nsp, id, data: plain(data) }));
    const parts = [];
    for (let start = 0; start < bytes.length; start += PART_BYTES_MAX) {
      const end = start + PART_BYTES_MAX;
      parts.push(Buffer.concat([Buffer.of(end < bytes.length ? 1 : 0), bytes.subarray(start, end)]));
    }
    return parts;
  }
}

export class Decoder extends EventEmitter {
  #parts = [];

  add(message) {
    if (typeof message === "string" || message[0] > 1) throw new Error("not a part of a packet");
    this.#parts.push(message.subarray(1));
    if (message[0] === 1) return;
    const packet = decode(Buffer.concat(this.#parts.splice(0)));
    this.emit("decoded", { ...packet, data: buffers(packet.data) });
  }

  destroy() {
    this.#parts = [];
  }
}

const present = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

/** Without what CBOR has no word for: an error's methods, keys without a value. */
function plain(value) {
  if (Array.isArray(value)) return value.map((item) => (item === undefined ? null : plain(item)));
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(present(value)).map(([key, item]) => [key, plain(item)]));
}

/** Bytes as the other parsers of Node hand them out. */
function buffers(value) {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(buffers);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, buffers(item)]));
}
