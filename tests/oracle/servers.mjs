// The servers of one comparison: the official one, and ours with the shards and drivers asked for.

import { fileURLToPath } from "node:url";
import { ServerUnderTest } from "../conformance/harness/server.mjs";
import { Control } from "./control.mjs";
import { play } from "./player.mjs";
import { normalise } from "./normalise.mjs";

const REFERENCE = fileURLToPath(new URL("../conformance/node-reference.mjs", import.meta.url));

/** `node`, `node+MISTAKE` (see `PLANTS` of the handlers), or driver and shards of ours: `uring/3`. */
export function targetOf(name) {
  if (name === "node" || name.startsWith("node+")) {
    const plant = name.slice(5);
    return { name, command: [process.execPath, REFERENCE], options: plant ? ["--plant", plant] : [], shards: 1 };
  }
  const [driver, shards] = name.split("/");
  const program = process.env.RINGIO_SERVER;
  if (!program) throw new Error("RINGIO_SERVER is the path of the program `conformance`: cargo build --release -p ringio-tests --bin conformance");
  return { name, command: [program], options: ["--driver", driver, "--shards", shards], shards: Number(shards) };
}

/** A server for each suite, started when it is first needed. */
export class Theatre {
  #target;
  #running = new Map();

  constructor(target) {
    this.#target = target;
  }

  get name() {
    return this.#target.name;
  }

  /** The normalised record of a script; see `play` of the player for `patience`. */
  async play(script, patience = 1) {
    const { server, control } = await this.#server(script.suite);
    try {
      return normalise(await play(script, server.port, control, patience), script);
    } catch (error) {
      // The server may be beyond use: the next script gets another one.
      await this.#stop(script.suite).catch(() => {});
      throw Object.assign(new Error(`${this.name}: ${error.message}\n${server.log}`), { cause: error });
    }
  }

  async #server(suite) {
    let found = this.#running.get(suite);
    if (!found) {
      const server = new ServerUnderTest(this.#target, suite);
      await server.start();
      found = { server, control: await Control.open(server.port, this.#target.shards, suite === "oracle-msgpack") };
      await found.control.log();
      this.#running.set(suite, found);
    }
    return found;
  }

  async #stop(suite) {
    const found = this.#running.get(suite);
    this.#running.delete(suite);
    found?.control.close();
    await found?.server.stop();
  }

  async close() {
    for (const suite of [...this.#running.keys()]) await this.#stop(suite);
  }
}
