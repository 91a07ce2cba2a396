// The player's own connections, one to each shard: they tell when a server has come to rest, and what its handlers heard.
//
// A server is at rest when nothing that was sent to it can have a consequence any more. `settle` asks every shard for
// the sockets of every shard, which travels behind whatever the shards had to tell each other, and does so as often as a
// consequence can have consequences.

import { Connection } from "./wire.mjs";
import { asMsgpack, readMsgpack } from "./msgpack.mjs";
import { frame, OPCODE, upgradeHead } from "../conformance/harness/raw.mjs";
import { within } from "../conformance/harness/inbox.mjs";

/** Steps on the longest way of a consequence: accepted, read, moved to its shard, told to the others. */
const ROUNDS = 4;
const CONNECTIONS_MAX = 200;

export class Control {
  #links = [];

  /** With a connection to each of `shards` shards, which speaks what the server's clients speak. */
  static async open(port, shards, isMsgpack = false) {
    const control = new Control();
    const found = new Map();
    for (let tried = 0; found.size < shards; tried += 1) {
      if (tried === CONNECTIONS_MAX) throw new Error(`${found.size} shards of ${shards} answer`);
      const link = await Link.open(port, isMsgpack);
      // A sid of ours ends with its shard.
      const shard = shards === 1 ? "" : link.sid.slice(-2);
      if (found.has(shard)) link.close();
      else found.set(shard, link);
    }
    control.#links = [...found.values()];
    return control;
  }

  async settle() {
    for (let round = 0; round < ROUNDS; round += 1) {
      await Promise.all(this.#links.map((link) => link.ask("barrier")));
    }
    // What the kernel holds for us is read before anybody looks at it.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }

  /** What the handlers heard since the last call, `[socket id or "engine", what, ...]`. */
  log() {
    return this.#links[0].ask("log");
  }

  /** Number of sockets in all namespaces but this one. */
  sockets() {
    return this.#links[0].ask("sockets");
  }

  close() {
    for (const link of this.#links) link.close();
  }
}

class Link {
  #connection;
  #waiting = new Map();
  #id = 0;
  #opened;

  #isMsgpack;

  static async open(port, isMsgpack) {
    const link = new Link();
    link.#isMsgpack = isMsgpack;
    const opened = new Promise((resolve, reject) => (link.#opened = { resolve, reject }));
    link.#connection = new Connection(port, (entry) => link.#take(entry), () => {});
    link.#connection.pending.push({ label: "control", method: "GET", onAnswer: () => true });
    link.#connection.write(upgradeHead());
    await within(opened, "no control connection");
    return link;
  }

  ask(event) {
    const id = this.#id++;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#send(`42/control,${id}["${event}"]`);
    return within(answer, `no answer to ${event}`);
  }

  close() {
    this.#connection.destroy();
  }

  #send(text) {
    const packed = this.#isMsgpack ? asMsgpack([{ text }])[0].base64 : undefined;
    this.#connection.write(frame(packed === undefined ? { text } : { opcode: OPCODE.binary, payload: Buffer.from(packed, "base64") }));
  }

  #take({ kind, hex, text = hex && readMsgpack(Buffer.from(hex, "hex")).text }) {
    if (kind === "end") {
      const error = new Error("the server ended its control connection: it has died");
      this.#opened.reject(error);
      for (const { reject } of this.#waiting.values()) reject(error);
      return;
    }
    if (text === undefined) return;
    if (text[0] === "0") {
      this.sid = JSON.parse(text.slice(1)).sid;
      this.#send("40/control,");
    } else if (text === "2") {
      this.#connection.write(frame({ text: "3" }));
    } else if (text.startsWith("40/control,")) {
      this.#opened.resolve();
    } else if (text.startsWith("43/control,")) {
      const [, id, args] = /^43\/control,(\d+)(.*)$/s.exec(text);
      this.#waiting.get(Number(id))?.resolve(JSON.parse(args)[0]);
      this.#waiting.delete(Number(id));
    }
  }
}
