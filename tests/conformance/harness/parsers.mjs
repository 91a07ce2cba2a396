// The parsers that a client and a server can agree on, by the name that our program and the Node server take.

import msgpack from "socket.io-msgpack-parser";
import * as cbor from "./cbor-parser.mjs";

/** Client options (and, in Node, server options) for each. */
export const PARSERS = {
  default: {},
  msgpack: { parser: msgpack },
  cbor: { parser: cbor },
};

/** A packet as the one message that the msgpack parser makes of it. */
export const encodeMsgpack = (packet) => new msgpack.Encoder().encode(packet)[0];

/** The packet in a message of the msgpack parser. */
export function decodeMsgpack(bytes) {
  let packet;
  const decoder = new msgpack.Decoder();
  decoder.on("decoded", (decoded) => (packet = decoded));
  decoder.add(bytes);
  return packet;
}
