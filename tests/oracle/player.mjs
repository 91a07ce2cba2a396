// Plays a script against one server and writes down what came back: after each step, once the server is at rest.
//
// Nothing sleeps: a step is over when its requests are answered, the WebSockets have answered a ping behind everything
// that was sent, and every shard has told every other that it has nothing more to say (`control.mjs`). So two servers
// are compared in the same order of things, however fast they are.

import { Client } from "./client.mjs";
import { OPCODE } from "../conformance/harness/raw.mjs";

/** How long an answer may take that must come. Reached only when it does not come. */
const PATIENCE_MS = 2_000;
/** Node answers a GET beside a probe within 100 ms; a busy machine takes longer. */
const NOOP_MS = 2_000;
const POLLS_MAX = 60;

/** `{ steps: [[{ client, channel, ...entry }, ...], ...], log, names, isLeaking }`. All waits are `patience` times as long as usual. */
export async function play(script, port, control, patience = 1) {
  const stage = new Stage(script, port, control, patience);
  try {
    return await stage.run();
  } finally {
    stage.abandon();
  }
}

class Stage {
  #script;
  #control;
  #clients;
  #steps = [];
  #current = [];
  #names = new Map();
  #wake = () => {};
  #patience;

  constructor(script, port, control, patience) {
    this.#patience = patience;
    this.#script = script;
    this.#control = control;
    const theatre = {
      record: (client, channel, entry) => this.#current.push({ client, channel, ...entry }),
      name: (id, name) => this.#names.has(id) || this.#names.set(id, name),
      onChange: () => this.#wake(),
    };
    this.#clients = Array.from({ length: script.clients }, (_, index) => new Client(index, port, theatre, { isMsgpack: script.suite === "oracle-msgpack" }));
  }

  async run() {
    for (const step of this.#script.steps) {
      this.#current = [];
      this.#steps.push(this.#current);
      await this.#perform(step, this.#clients[step.c]);
      await this.#rest();
    }
    const isLeaking = await this.#leave();
    return { steps: this.#steps, log: await this.#control.log(), names: this.#names, isLeaking };
  }

  abandon() {
    for (const client of this.#clients) for (const connection of client.connections) connection.destroy();
  }

  // A step whose client is not in the state for it does nothing: scripts that were cut shorter stay playable.
  async #perform(step, client) {
    const { wire, probe } = client;
    const isPolling = client.transport === "polling" && client.hasSession;
    switch (step.op) {
      case "open":
        if (!client.hasSession || client.isGone) client.open(step);
        break;
      case "send":
        if (client.hasSession) client.send(step.packets.map((packet) => this.#fill(packet, client, step)), step);
        break;
      case "answer": {
        const ask = client.hasSession ? client.asks.shift() : undefined;
        if (!ask) break;
        const namespace = ask.namespace === "/" ? "" : `${ask.namespace},`;
        client.send([{ text: `43${namespace}${ask.id}${step.json}` }]);
        if (step.isTwice) client.send([{ text: `43${namespace}${ask.id}${step.json}` }]);
        break;
      }
      case "poll":
        if (isPolling && !client.polling) client.poll();
        // Beside a probe it is answered soon in any case.
        if (client.isProbing) await this.#until(() => !client.polling, NOOP_MS);
        break;
      case "overlap":
        if (isPolling && client.polling) client.poll("overlap");
        break;
      case "abort":
        if (client.polling) client.abortPoll();
        break;
      case "post":
        if (isPolling && !client.half) client.post({ ...step, body: step.body ?? "4".padEnd(step.size, "x") });
        break;
      case "postBegin":
        if (isPolling && !client.half) client.beginPost(step);
        break;
      case "postOverlap":
        if (isPolling && client.half) client.post({ body: "3" });
        break;
      case "postEnd":
        if (client.half) client.finishPost();
        break;
      case "postAbort":
        if (client.half) client.abortPost();
        break;
      case "request":
        client.request(step);
        break;
      case "raw":
        client.raw(step);
        break;
      case "probe":
        // Node lets a second WebSocket probe beside one that the session began with.
        if ((isPolling || client.isUpgraded) && !client.isProbing) client.beginProbe();
        break;
      case "probeSend":
        if (probe?.isWebSocket && !probe.isEnded && !probe.isClosed) await this.#sendProbe(client, step.text);
        break;
      case "probeDrop":
        if (probe) {
          probe.destroy();
          Object.assign(client, { probe: undefined, isProbing: false });
        }
        break;
      case "upgrade":
        if (isPolling && !client.isProbing && !client.half) await this.#upgrade(client);
        break;
      case "frames":
        if (wire?.isWebSocket && !wire.isEnded) {
          const isClose = step.frames.some(({ opcode }) => opcode === OPCODE.close);
          if (isClose) wire.hasSaidClose = true;
          wire.isOdd = true;
          wire.frames(step.frames.map(({ hex, ...frame }) => (hex === undefined ? frame : { ...frame, payload: Buffer.from(hex, "hex") })));
        }
        break;
      case "drop":
        if (wire && !wire.isEnded) {
          if (step.how === "fin") {
            wire.isFinished = true;
            wire.finish();
          } else if (step.how === "reset") wire.reset();
          else wire.destroy();
        }
        break;
      default:
        throw new Error(`no step is called ${step.op}`);
    }
  }

  /** Puts what only this run knows into a packet: the past of a socket that wants to be recovered. */
  #fill(packet, client, step) {
    if (!step.recover || !packet.text?.startsWith("40")) return packet;
    const { pid, offset } = client.past.get(step.recover) ?? {};
    if (!pid) return packet;
    return { text: packet.text.replace("{", `{"pid":"${pid}"${offset ? `,"offset":"${offset}"` : ""}${packet.text.includes("{}") ? "" : ","}`) };
  }

  async #sendProbe(client, text) {
    client.sendProbe(text);
    if (text === "2probe") await this.#until(() => !client.polling || client.probe.isEnded, NOOP_MS);
  }

  /** As a client does it: probe, wait for the GET to return, switch. */
  async #upgrade(client) {
    client.beginProbe();
    const { probe } = client;
    await this.#until(() => probe.isEnded || probe.pending.length === 0, PATIENCE_MS);
    if (!probe.isWebSocket || probe.isEnded) return;
    probe.isProbed = false;
    client.sendProbe("2probe");
    probe.sync();
    await this.#until(() => probe.isEnded || (probe.syncs === 0 && !client.polling), NOOP_MS);
    if (!probe.isEnded && !probe.isClosed) client.sendProbe("5");
  }

  async #rest() {
    for (let polls = 0; ; ) {
      for (const connection of this.#connections()) {
        const isSound = connection.isWebSocket && !connection.isEnded && !connection.isClosed;
        if (isSound && !connection.isOdd && !connection.isFinished && connection.syncs === 0) connection.sync();
      }
      await this.#until(() => this.#owed().length === 0, PATIENCE_MS);
      await this.#control.settle();
      const late = this.#owed();
      for (const client of this.#clients) if (client.isUngreeted && !client.polling) client.poll("open");
      if (this.#owed().length > late.length) continue;
      const again = this.#clients.filter((client) => client.wantsPoll && polls < POLLS_MAX);
      for (const client of again) {
        client.wantsPoll = false;
        if (!client.polling) client.poll();
        client.hasHung = true;
        polls += 1;
      }
      if (again.length === 0) {
        for (const connection of late) this.#miss(connection);
        break;
      }
    }
    for (const client of this.#clients) if (client.polling) client.hasHung = true;
  }

  #miss(connection) {
    const what = connection.pending.map(({ label }) => label);
    this.#current.push({ client: connection.client, channel: connection.label, kind: "missing", what: what.length > 0 ? what : ["the end or a pong"] });
    connection.syncs = 0;
    connection.isOdd = true;
    connection.isGivenUp = true;
  }

  /** Connections on which something must still come. */
  #owed() {
    return this.#connections().filter((connection) => {
      if (connection.isEnded || connection.isGivenUp) return false;
      if (connection.pending.some(({ label }) => !["poll", "half"].includes(label))) return true;
      // Clients of revision 3 hear OPEN, and that they are in "/", a moment after the handshake.
      if (connection.isGreeting) return true;
      return connection.unsent > 0 || connection.syncs > 0 || connection.isClosed || connection.isFinished || connection.mustEnd;
    });
  }

  #connections() {
    return this.#clients.flatMap((client) => [...client.connections]);
  }

  async #until(isDone, limitMs) {
    const end = performance.now() + limitMs * this.#patience;
    while (!isDone()) {
      const rest = end - performance.now();
      if (rest <= 0) return;
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, rest);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
  }

  /** Everybody leaves. Whether somebody stays nevertheless. */
  async #leave() {
    for (const client of this.#clients) client.hangUp();
    await this.#control.settle();
    await Promise.all(this.#clients.flatMap((client) => client.sayGoodbye()));
    for (let tried = 0; tried < 100; tried += 1) {
      await this.#control.settle();
      if ((await this.#control.sockets()) === 0) return false;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return true;
  }
}
