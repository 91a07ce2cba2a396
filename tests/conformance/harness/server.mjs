// Starts the server under test, once per target, and stops it.
//
// RINGIO_SERVER  path of our conformance program: every test runs with 1 and with 3 shards, on uring and on epoll.
//                Without it the official Node server is tested: that shows that the tests are right.
// RINGIO_TARGETS picks some of them, e.g. `uring/1,epoll/3`.
//
//   suite("clients", "rooms", (server) => { test("...", async () => connect(server.url)); });

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, describe } from "node:test";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";

const PROGRAM = process.env.RINGIO_SERVER;
const REFERENCE = fileURLToPath(new URL("../node-reference.mjs", import.meta.url));
const START_MS = 60_000;
const STOP_MS = 30_000;

/** Ports below the kernel's ephemeral range, so that no client connection sits on one. */
const PORT_FIRST = 20_000;
const PORT_COUNT = 12_000;

/** Whether the official Node server is tested. */
export const isNode = !PROGRAM;

/** Memory of the server's process. Bytes. */
export function residentBytes(server) {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]);
}

/** The servers to test: `program` (or, without one, its `reference` on Node) in each combination. */
export function targets({ program = PROGRAM, reference = REFERENCE } = {}) {
  if (!program) return [{ name: "node", command: [process.execPath, reference], options: [] }];
  const all = ["uring", "epoll"].flatMap((driver) =>
    [1, 3].map((shards) => ({
      name: `${driver}/${shards}`,
      command: [program],
      options: ["--shards", String(shards), "--driver", driver],
    })),
  );
  const wanted = process.env.RINGIO_TARGETS?.split(",");
  const chosen = all.filter(({ name }) => !wanted || wanted.includes(name));
  if (chosen.length === 0) throw new Error(`RINGIO_TARGETS=${process.env.RINGIO_TARGETS} names none of ${all.map((t) => t.name)}`);
  return chosen;
}

/** The reason for a skip; where CI runs, which skips nothing, it is an error. */
export function cannotRun(reason) {
  if (process.env.CI) throw new Error(reason);
  return reason;
}

/**
 * Declares the tests of `body` once per target and parser, each with a server of its own. Clients made for the server have
 * its parser, and its `scheme`. `name` is the suite, or a list that begins with it and goes on with other parameters.
 */
export function suite(name, title, body, { parsers = ["default"], scheme = "http" } = {}) {
  for (const [target, parser] of targets().flatMap((target) => parsers.map((parser) => [target, parser]))) {
    const isDefault = parser === "default";
    describe(`${title} [${target.name}${isDefault ? "" : `, ${parser}`}]`, { timeout: 600_000 }, () => {
      const server = new ServerUnderTest(target, isDefault ? name : [name, "--parser", parser].flat());
      server.parser = parser;
      server.scheme = scheme;
      before(() => server.start());
      after(() => server.stop());
      body(server);
    });
  }
}

/** For a suite with short heartbeats: nobody is sent away because a busy machine lets its pong, or its joining, wait. */
export const PATIENT = ["--ping-timeout", "20000", "--connect-timeout", "45000"];

export class ServerUnderTest {
  /** Which parser its clients need. */
  parser = "default";

  /** `http` or `https`. */
  scheme = "http";

  #target;
  #suite;
  #child;
  #lock;
  #log = [];
  #expectedEnd = true;

  /** `suite` is the first argument of the program, if it takes one. */
  constructor(target, suite = []) {
    this.#target = target;
    this.#suite = [suite].flat();
  }

  get url() {
    return `${this.scheme}://127.0.0.1:${this.port}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** A later start keeps the port: clients find the server where it was. */
  async start() {
    this.port ??= await this.#reservePort();
    const [program, ...first] = this.#target.command;
    const parameters = [...first, ...this.#suite, "--port", String(this.port), ...this.#target.options];
    this.#child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"] });
    this.#expectedEnd = false;
    running.add(this.#child);

    const child = this.#child;
    const keep = (chunk) => {
      this.#log.push(String(chunk));
      if (this.#log.length > 400) this.#log.shift();
    };
    child.stderr.on("data", keep);
    const ready = new Promise((resolve, reject) => {
      let seen = "";
      child.stdout.on("data", (chunk) => {
        keep(chunk);
        seen = (seen + chunk).slice(-4096);
        if (/^ready\b/m.test(seen)) resolve();
      });
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        running.delete(child);
        reject(new Error(`${program} ${parameters.join(" ")} ended (${signal ?? code}) before it was ready:\n${this.log}`));
      });
    });
    const late = delay(START_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${program} ${parameters.join(" ")} printed no "ready":\n${this.log}`);
    });
    await Promise.race([ready, late]);
    child.once("exit", (code, signal) => {
      if (child === this.#child && !this.#expectedEnd) this.#expectedEnd = `it ended by itself (${signal ?? code})`;
    });
  }

  /** As an operator would. Fails when the server has died before, or does not go. */
  async stop() {
    if (!this.#child) return;
    const unexpected = typeof this.#expectedEnd === "string" ? this.#expectedEnd : undefined;
    this.#expectedEnd = true;
    if (this.#isAlive()) {
      this.#child.kill("SIGTERM");
      const gone = await Promise.race([once(this.#child, "exit").then(() => true), delay(STOP_MS, false, { ref: false })]);
      if (!gone) {
        this.#child.kill("SIGKILL");
        throw new Error(`the server did not stop at SIGTERM:\n${this.log}`);
      }
    }
    if (unexpected) throw new Error(`${unexpected}:\n${this.log}`);
  }

  /** As a crash would: nothing is said to anybody. */
  async kill() {
    this.#expectedEnd = true;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }

  get log() {
    return this.#log.join("");
  }

  #isAlive() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  // Servers here share a port among their shards by SO_REUSEPORT, so two servers that picked the same port would
  // both start, and their clients would meet the wrong one now and then. The UDP port of the same number, which
  // the kernel gives to one process only and takes back when it dies, is the reservation.
  async #reservePort() {
    for (let attempt = 0; attempt < 1000; attempt += 1) {
      const port = PORT_FIRST + Math.floor(Math.random() * PORT_COUNT);
      const lock = createSocket("udp4");
      try {
        lock.bind({ port, address: "127.0.0.1", exclusive: true });
        await once(lock, "listening");
        await listenOnce(port);
      } catch {
        lock.close();
        continue;
      }
      lock.unref();
      this.#lock = lock;
      return port;
    }
    throw new Error("no free port found");
  }
}

async function listenOnce(port) {
  const probe = createServer();
  probe.listen({ port, host: "::", exclusive: true });
  await once(probe, "listening");
  probe.close();
  await once(probe, "close");
}

const running = new Set();
function killAll() {
  for (const child of running) child.kill("SIGKILL");
}
process.on("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}
