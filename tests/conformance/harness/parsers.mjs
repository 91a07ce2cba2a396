// The parsers that a client and a server can agree on, by the name that our program and the Node server take.

import msgpack from "socket.io-msgpack-parser";
import * as cbor from "./cbor-parser.mjs";

/** Client options (and, in Node, server options) for each. */
export const PARSERS = {
  default: {},
  msgpack: { parser: msgpack },
  cbor: { parser: cbor },
};
