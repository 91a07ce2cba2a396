// What the servers under comparison do: the suites `oracle`, `oracle-...` of the Node server.
//
// `tests/src/oracle.rs` is the same in Rust; `README.md` describes the events. Whatever a handler hears goes into a log
// that the player reads at the end of a script, over the namespace `/control`.

import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { PARSERS } from "../conformance/harness/parsers.mjs";

const compress = promisify(gzip);
/** Servers of which somebody has wanted a compressed answer. */
const asked = new WeakSet();

/** Nobody answers within it: the step that asked is not over before. */
const HURRY_MS = 20;
/** No script takes so long. */
const PATIENCE_MS = 60_000;

/** Options of the suites. `maxHttpBufferSize` is small, so that a body over the limit is cheap. */
export const SUITES = {
  oracle: { maxHttpBufferSize: 20_000 },
  "oracle-old": {
    maxHttpBufferSize: 20_000,
    allowEIO3: true,
    cors: { origin: ["http://a.test"], credentials: true, exposedHeaders: ["X-Shown"] },
    cookie: { name: "io", maxAge: 60 },
  },
  "oracle-recovery": { maxHttpBufferSize: 20_000, connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: true } },
  "oracle-msgpack": { maxHttpBufferSize: 20_000, ...PARSERS.msgpack },
  "oracle-deflate": {
    maxHttpBufferSize: 20_000,
    perMessageDeflate: { threshold: 64, serverNoContextTakeover: true, clientNoContextTakeover: true },
    httpCompression: { threshold: 64 },
    cleanupEmptyChildNamespaces: true,
  },
};

/**
 * Handlers on every namespace. `plant` names a mistake that is made on purpose, so that a test can show that it is found
 * (see `PLANTS`).
 */
export function serveOracle(io, plant) {
  const log = [];
  /** Questions whose time runs. */
  const hurried = { count: 0 };
  const served = ["/", "/chat", "/guarded"].map((name) => io.of(name));
  const dynamic = io.of(/^\/dyn-\d+$/);

  io.engine.on("connection_error", ({ code, message }) => log.push(["engine", "refused", code, message]));
  io.engine.on("headers", (_, request) => request.headers["accept-encoding"] && asked.add(io));
  if (plant === "another-header") io.engine.on("headers", (headers) => (headers["cache-control"] = "no-cache"));
  io.of("/control").on("connection", (socket) => {
    socket.on("barrier", async (reply) => {
      await Promise.all(served.map((namespace) => namespace.fetchSockets()));
      // Polls are compressed by other threads, four of them: what they do for us is behind what they do for clients.
      if (asked.has(io)) await Promise.all(Array.from({ length: 4 }, () => compress(Buffer.alloc(50_000))));
      while (hurried.count > 0 || isCompressing(io)) await delay(1);
      reply();
    });
    socket.on("log", (reply) => reply(log.splice(0)));
    socket.on("sockets", (reply) => {
      let count = 0;
      for (const [name, { sockets }] of io._nsps) if (name !== "/control") count += sockets.size;
      reply(count);
    });
  });

  io.of("/guarded").use((socket, next) => {
    const { refuse, why } = socket.handshake.auth;
    if (refuse === undefined) return next();
    next(Object.assign(new Error(refuse), why === undefined ? {} : { data: { why } }));
  });
  for (const namespace of [...served, dynamic]) {
    namespace.on("connection", (socket) => attach(socket, log, hurried, plant));
  }
}

/** Whether a WebSocket has messages that wait for their compression. */
function isCompressing(io) {
  const isIdle = ({ _state, _queue }) => _state === 0 && _queue.length === 0;
  return Object.values(io.engine.clients).some(({ transport }) => transport.socket?._sender && !isIdle(transport.socket._sender));
}

/** Mistakes that a script of the oracle must bring to light. */
export const PLANTS = [
  "leave-keeps-the-room", // `leave` does nothing
  "disconnecting-sees-no-rooms",
  "others-reach-the-sender",
  "second-attachment-lost",
  "wrong-reason", // `transport close` becomes `transport error`
  "another-header", // answers may be cached
  "late-answer-counts", // a question without its timeout
  "except-forgets-the-second",
  "data-of-others-is-hidden",
  "volatile-is-not",
];

function attach(socket, log, hurried, plant) {
  const { nsp, handshake } = socket;
  const note = (...what) => log.push([socket.id, ...what]);
  // Its own id is another on each server, and so would be its place among the others.
  const sorted = () => [...socket.rooms].map((room) => (room === socket.id ? "(itself)" : room)).sort();
  note("connection", handshake.auth, handshake.query, socket.recovered, socket.data.kept ?? null);

  socket.onAny((name, ...args) => note("any", String(name), typeof args.at(-1) === "function" ? args.length - 1 : args.length));
  socket.on("error", (error) => note("error", error.message ?? error));
  socket.on("disconnecting", (reason) => note("disconnecting", said(reason, plant), plant === "disconnecting-sees-no-rooms" ? [] : sorted()));
  socket.on("disconnect", (reason) => note("disconnect", said(reason, plant), socket.rooms.size));
  socket.use(([name, why], next) => next(name === "blocked" ? new Error(`blocked: ${why}`) : undefined));

  const on = (name, handle) => {
    socket.on(name, (...args) => {
      const reply = typeof args.at(-1) === "function" ? args.pop() : () => {};
      handle(args, reply);
    });
  };
  on("echo", (args) => socket.emit("echo", ...args));
  on("ack", (args, reply) => reply(...(plant === "second-attachment-lost" ? args.filter((arg, index) => index !== 1 || !Buffer.isBuffer(arg)) : args)));
  on("three", () => ["one", "two", "three"].forEach((name, index) => socket.emit(name, index)));
  on("blob", ([size]) => socket.emit("blob", { a: Buffer.alloc(Number(size) || 0, 7), list: [Buffer.from([1, 2, 3]), "x"] }));
  on("big", ([size]) => socket.emit("big", "x".repeat(Math.min(Number(size) || 0, 50_000))));
  on("fleeting", (args) => {
    (plant === "volatile-is-not" ? socket : socket.volatile).emit("fleeting", ...args);
    socket.emit("lasting");
  });
  on("ask", (args) => {
    socket.emit("question", ...args, (...answer) => {
      note("answered", answer.length);
      socket.emit("answered", ...answer);
    });
  });

  on("hurry", (args) => {
    hurried.count += 1;
    setTimeout(() => (hurried.count -= 1), HURRY_MS);
    (plant === "late-answer-counts" ? socket : socket.timeout(HURRY_MS)).emit("question", ...args, (error) => {
      // Who has left is told at once on one of the servers.
      if (!socket.connected) return;
      note("hurried", error !== null);
      socket.emit("hurried", error !== null);
    });
  });
  on("survey", ([room, isPatient, ...args]) => {
    if (isPatient !== true) {
      hurried.count += 1;
      setTimeout(() => (hurried.count -= 1), HURRY_MS);
    }
    nsp.to(String(room)).timeout(isPatient === true ? PATIENCE_MS : HURRY_MS).emit("question", ...args, (error, answers) => {
      if (!socket.connected || (isPatient === true && error)) return;
      note("surveyed", error !== null, answers.length);
      // `undefined`, where nothing was answered, has bytes of its own in msgpack.
      socket.emit("surveyed", error !== null, ...answers.map((answer) => answer ?? null));
    });
  });

  on("join", ([room], reply) => {
    socket.join(String(room));
    reply(sorted());
  });
  on("leave", ([room], reply) => {
    if (plant !== "leave-keeps-the-room") socket.leave(String(room));
    reply(sorted());
  });
  on("rooms", (_, reply) => reply(sorted()));
  on("all", ([event, ...args]) => nsp.emit(String(event), ...args));
  on("broadcast", ([event, ...args]) => socket.broadcast.emit(String(event), ...args));
  on("room", ([room, event, ...args]) => nsp.to(String(room)).emit(String(event), ...args));
  on("others", ([room, event, ...args]) => (plant === "others-reach-the-sender" ? nsp : socket).to(String(room)).emit(String(event), ...args));
  on("except", ([room, except, event, ...args]) => nsp.to(String(room)).except(String(except)).emit(String(event), ...args));
  on("two", ([first, second, event, ...args]) => nsp.to(String(first)).to(String(second)).emit(String(event), ...args));
  on("mixed", ([a, b, c, d, event, ...args]) => {
    const without = plant === "except-forgets-the-second" ? [String(c)] : [String(c), String(d)];
    socket.to([String(a), String(b)]).except(without).emit(String(event), ...args);
  });
  on("loose", ([room, event, ...args]) => nsp.to(String(room)).volatile.emit(String(event), ...args));
  on("move", ([from, to], reply) => {
    nsp.in(String(from)).socketsJoin(String(to));
    reply();
  });
  on("out", ([from, room], reply) => {
    nsp.in(String(from)).socketsLeave(String(room));
    reply();
  });
  on("count", async ([room], reply) => reply((await nsp.in(String(room)).fetchSockets()).length));
  on("keep", ([value], reply) => {
    socket.data.kept = value ?? null;
    reply();
  });
  on("peers", async ([room], reply) => {
    const peers = (await nsp.in(String(room)).fetchSockets()).map(({ id, rooms, data, handshake }) => [
      [...rooms].map((name) => (name === id ? "(itself)" : name)).sort(),
      plant === "data-of-others-is-hidden" && id !== socket.id ? null : (data.kept ?? null),
      Object.keys(handshake.auth).sort(),
      handshake.query.transport,
      handshake.headers["x-test"] ?? null,
    ]);
    reply(...peers.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)));
  });
  on("whoami", (_, reply) => {
    const query = Object.entries(handshake.query).sort(([a], [b]) => (a < b ? -1 : 1));
    reply(Object.keys(handshake.auth).sort(), query, socket.conn.transport.name, handshake.headers["x-test"] ?? null);
  });
  on("bye", ([close]) => {
    socket.emit("last");
    socket.disconnect(close === true);
  });
  on("kick", ([room, close]) => nsp.in(String(room)).disconnectSockets(close === true));
  on("spare", ([room, close]) => nsp.except(String(room)).disconnectSockets(close === true));

  const { greet, join, bye } = handshake.auth;
  if (greet !== undefined) socket.emit("hello", greet);
  if (typeof join === "string") socket.join(join);
  if (typeof bye === "boolean") socket.disconnect(bye);
}

function said(reason, plant) {
  return plant === "wrong-reason" && reason === "transport close" ? "transport error" : reason;
}
