// The official Node server with the interface of our conformance program: the yardstick for every test here.
//
//   node node-reference.mjs SUITE --port N          (--shards and --driver are accepted and ignored)
//
// It prints `ready` when it listens and stops on SIGTERM. The suites are described in README.md, so that
// `tests/src/bin/conformance.rs` can offer exactly the same. A test that passes here and fails there has
// found a difference; a test that fails here is wrong.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";
import { serveCluster } from "./node-cluster.mjs";
import { pass, releases } from "./harness/gates.mjs";
import { PARSERS } from "./harness/parsers.mjs";
import { serveOracle, SUITES as ORACLE_SUITES } from "../oracle/handlers.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "3000" },
    shards: { type: "string" },
    driver: { type: "string" },
    parser: { type: "string", default: "default" },
    "ping-interval": { type: "string", default: "300" },
    "ping-timeout": { type: "string", default: "200" },
    "connect-timeout": { type: "string", default: "1000" },
    plant: { type: "string" },
    tls: { type: "string" },
    unix: { type: "string" },
    "client-certificates": { type: "string", default: "none" },
  },
});

const parser = PARSERS[values.parser];
const heartbeats = { pingInterval: Number(values["ping-interval"]), pingTimeout: Number(values["ping-timeout"]) };
const notFound = (_request, response) => response.writeHead(404).end();
const http = values.tls ? createSecureServer(tlsOptions(), notFound) : createServer(notFound);

/** With `--tls`: what a folder of certificates says at this moment. */
function tlsOptions() {
  const read = (name) => readFileSync(`${values.tls}/${name}.pem`);
  const clients = values["client-certificates"];
  const asked = { requestCert: true, rejectUnauthorized: clients === "demanded", ca: read("ca") };
  return { cert: read("chain"), key: read("key"), ...(clients === "none" ? {} : asked) };
}

const suites = {
  // Echoes every Engine.IO message. Short heartbeats, because the protocol tests wait for them.
  "engine-v4"() {
    const engine = new EngineServer({ ...heartbeats, maxHttpBufferSize: 1_000_000, cors: { origin: "*" } });
    engine.attach(http, { path: "/engine.io/" });
    engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  },

  "engine-v3"() {
    const engine = new EngineServer({ ...heartbeats, maxHttpBufferSize: 1_000_000, allowEIO3: true });
    engine.attach(http, { path: "/engine.io/" });
    engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  },

  "clients-v2": () => serveOldClients({}),
  "clients-v2-recovery": () => serveOldClients({ connectionStateRecovery: { maxDisconnectionDuration: 60_000 } }),

  "socketio-v5"() {
    const io = new Server(http, { ...heartbeats, connectTimeout: Number(values["connect-timeout"]), cors: { origin: "*" } });
    for (const name of ["/", "/custom"]) {
      io.of(name).on("connection", (socket) => {
        socket.emit("auth", socket.handshake.auth);
        socket.on("message", (...args) => socket.emit("message-back", ...args));
        socket.on("message-with-ack", (...args) => args.pop()(...args));
      });
    }
  },

  bench() {
    const io = new Server(http);
    io.on("connection", (socket) => {
      socket.on("echo", (...args) => socket.emit("echo", ...args));
      socket.on("ack", (...args) => args.pop()(...args));
      socket.on("broadcast", (...args) => io.emit("broadcast", ...args));
      socket.on("join", (room) => socket.join(room));
      socket.on("room", (room, ...args) => io.to(room).emit("room", ...args));
      socket.on("bin", (buffer) => socket.emit("bin", buffer));
    });
  },

  client() {
    const io = new Server(http, {
      pingInterval: 2000,
      connectionStateRecovery: {},
      allowRequest: (_request, answer) => delay(10).then(() => answer(null, true)),
    });
    for (const name of ["/timeout_socket", "/valid", "/asd"]) io.of(name);
    io.of("/foo").on("connection", (socket) => socket.on("getId", (reply) => reply(socket.id)));
    io.of("/abc").on("connection", (socket) => socket.emit("handshake", socket.handshake));
    io.of("/no").use((_socket, next) => next(new Error("Auth failed (custom namespace)")));
    io.use((socket, next) => next(socket.handshake.query.fail ? new Error("Auth failed (main namespace)") : undefined));
    io.on("connection", (socket) => {
      const date = new Date("2024-02-29T12:30:45.678Z");
      socket.on("hi", () => socket.emit("hi"));
      socket.on("echo", (...args) => args.pop()(...args));
      socket.on("ack", () => socket.emit("ack", (number, { test }) => number === 5 && test && socket.emit("got it")));
      socket.on("getId", (reply) => reply(socket.id));
      socket.on("getHandshake", (reply) => reply(socket.handshake));
      socket.on("getAckDate", (...args) => args.pop()(date));
      socket.on("getDate", () => socket.emit("takeDate", date));
      socket.on("getDateObj", () => socket.emit("takeDateObj", { date }));
      socket.on("getUtf8", () => {
        for (const text of ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]) socket.emit("takeUtf8", text);
      });
      socket.on("false", () => socket.emit("false", false));

      // Binary: what is not as it should be gets no answer.
      const bytes = Buffer.from("asdfasdf");
      socket.on("doge", () => socket.emit("doge", bytes));
      socket.on("getbin", () => socket.emit("takebin", bytes));
      socket.on("buffa", (data) => Buffer.isBuffer(data) && socket.emit("buffack"));
      socket.on("blob", (data) => Buffer.isBuffer(data) && socket.emit("back"));
      for (const name of ["jsonbuff", "jsonblob"]) {
        socket.on(name, ({ hello, message, goodbye }) => {
          if (hello === "lol" && Buffer.isBuffer(message) && goodbye === "gotcha") socket.emit(`${name}-ack`);
        });
      }
      for (const names of [["abuff1", "abuff2"], ["blob1", "blob2", "blob3"]]) {
        let count = 0;
        for (const [index, name] of names.entries()) {
          socket.on(name, (data) => {
            if (count === index && Buffer.isBuffer(data) === (index % 2 === 0)) count += 1;
            if (count === names.length) socket.emit(`${name}-ack`);
          });
        }
      }
    });
  },

  clients() {
    const io = new Server(http, parser);
    for (const name of ["/", "/admin"]) serveClients(io.of(name));
    io.on("connection", (socket) => {
      socket.on("secure", (reply) => reply(socket.handshake.secure));
      socket.on("renew", (reply) => {
        http.setSecureContext(tlsOptions());
        reply();
      });
    });
  },

  emits() {
    const io = new Server(http);
    io.on("connection", (socket) => {
      socket.on("script", (steps, ...bytes) => {
        const reply = bytes.pop();
        for (const { to, volatile, event, argument } of steps) {
          const target = { me: socket, others: socket.broadcast, all: io.sockets }[to];
          (volatile ? target.volatile : target).emit(event, argument, ...bytes);
        }
        reply();
      });
      socket.on("join", (...rooms) => {
        const reply = rooms.pop();
        socket.join(rooms);
        reply();
      });
      socket.on("leave", (...rooms) => {
        const reply = rooms.pop();
        for (const room of rooms) socket.leave(room);
        reply();
      });
      socket.on("rooms", (reply) => reply([...socket.rooms].sort()));
      socket.on("to", (rooms, except) => io.to(rooms).except(except).emit("told", rooms));
      socket.on("message", (...args) => socket.send(...args));
    });
  },

  files() {
    const io = new Server(http);
    for (const name of ["/", "/admin"]) serveClients(io.of(name));
  },

  guarded() {
    const io = new Server(http, parser);
    io.use((socket, next) => {
      socket.join("from middleware");
      socket.emit("early", socket.connected);
      const { refuse } = socket.handshake.auth;
      next(refuse === undefined ? undefined : Object.assign(new Error("refused"), { data: { why: refuse } }));
    });
    io.use(async (socket, next) => {
      const { wait, late, panic, hold } = socket.handshake.auth;
      if (hold) await pass(hold);
      if (wait) await delay(wait);
      if (panic) return next(new Error("internal server error")); // stands for the wall around our middlewares
      socket.data.waited = wait ?? null;
      next(late === undefined ? undefined : new Error("refused late"));
    });
    io.on("connection", (socket) => {
      const rooms = [...socket.rooms].filter((room) => room !== socket.id);
      socket.emit("welcome", socket.connected, rooms, socket.data.waited);
    });
    io.of("/open").on("connection", releases);
    for (const name of ["/", "/open"]) {
      io.of(name).on("connection", (socket) => {
        socket.on("members", async (reply) => reply((await io.in("from middleware").fetchSockets()).length));
      });
    }
  },

  requests() {
    const refusals = [];
    const slowly = async (request) => request.headers["x-slow"] && delay(20);
    const io = new Server(http, {
      cors: (request, answer) => answer(null, { origin: (request.headers.origin ?? "").endsWith(".a.test"), credentials: true }),
      cookie: { name: "io", maxAge: 60 },
      allowRequest: (request, answer) => slowly(request).then(() => answer(request.headers["x-refuse"], !request.headers["x-refuse"])),
    });
    io.engine.use((request, response, next) => {
      const end = request.headers["x-end"];
      if (end === "panic") return next(new Error("on purpose"));
      if (end === undefined) return next();
      response.writeHead(401, { "X-Ended": "yes", "Content-Length": end.length });
      response.end(end);
    });
    io.engine.use((request, response, next) => {
      slowly(request).then(() => {
        response.setHeader("X-Middleware", "yes");
        next();
      });
    });
    io.engine.generateId = async (request) => {
      const { id } = request._query;
      if (id === "fail") throw new Error("there is no id");
      return id === undefined ? randomBytes(15).toString("base64url") : `${id}AA`; // two for the shard, as ours
    };
    io.engine.on("initial_headers", (headers) => (headers["X-First"] = "yes"));
    io.engine.on("headers", (headers) => (headers["X-Every"] = "yes"));
    io.engine.on("connection_error", ({ code, context }) => {
      refusals.push([code, context.name ?? null, typeof context.message === "string" ? context.message : null]);
    });
    io.on("connection", (socket) => {
      socket.on("echo", (...args) => socket.emit("echo", ...args));
      socket.on("refusals", (reply) => reply(refusals));
    });
  },

  cookies() {
    const io = new Server(http, { cookie: true });
    io.engine.on("initial_headers", (headers) => (headers["set-cookie"] = "first=1; Path=/a"));
    io.engine.on("headers", (headers, request) => {
      if (request._query.sid) headers["set-cookie"] = "later=2";
    });
  },

  packets() {
    const io = new Server(http);
    const seen = [];
    io.on("connection", (socket) => {
      releases(socket);
      socket.onAny((name) => seen.push(["any", name]));
      socket.use(([name, what], next) => {
        if (name === "blocked") return next(new Error(`no ${what}`));
        if (name === "panic") return next(new Error("internal server error")); // stands for the wall around our middlewares
        next();
      });
      socket.use(async ([name, first, fails], next) => {
        if (name === "held") await pass(first);
        if (name !== "slow") return next();
        await delay(30);
        next(fails ? new Error("too late") : undefined);
      });
      // "wrapped" becomes "wrap" with its own name in front, once at once and once later.
      socket.use((event, next) => {
        if (event[0] === "wrapped") event.splice(0, 1, "wrap", "wrapped");
        next();
      });
      socket.use(async (event, next) => {
        if (event[0] !== "wrap") return next();
        await delay(10);
        event.splice(0, 1, "unwrapped", "wrap");
        next();
      });
      socket.on("error", ({ message }) => {
        seen.push(["error", message]);
        socket.emit("refused", message);
      });
      for (const name of ["blocked", "panic", "slow", "held", "echo", "wrapped", "wrap", "unwrapped"]) {
        socket.on(name, (...args) => {
          const reply = typeof args.at(-1) === "function" ? args.pop() : () => {};
          socket.emit(name, ...args);
          reply(...args);
        });
      }
      socket.on("seen", (reply) => reply(seen));
    });
  },

  dynamic: () => serveDynamic({}),
  "dynamic-cleanup": () => serveDynamic({ cleanupEmptyChildNamespaces: true }),

  connections() {
    const io = new Server(http, { ...heartbeats, pingTimeout: 20_000 });
    const ends = [];
    const closed = [];
    const upgrades = [];
    const words = (description) => description?.message?.replace(/^\w*Error: /, "") ?? null;
    io.engine.on("connection", (conn) => {
      for (const event of ["upgrading", "upgrade"]) conn.on(event, ({ name }) => upgrades.push([conn.id, event, name]));
      conn.on("close", (reason, description) => closed.push([conn.id, reason, words(description)]));
    });
    for (const name of ["/", "/second"]) {
      io.of(name).on("connection", (socket) => {
        const { conn } = socket;
        let log = [];
        const client = () => [...socket.client.sockets.values()];
        socket.on("log", (reply) => (reply(log), (log = [])));
        socket.on("about", (reply) => {
          const { id, transport, protocol, readyState, request, remoteAddress } = conn;
          const address = /^(::ffff:)?127\.|^::1$/.test(remoteAddress);
          const sockets = client().map(({ nsp }) => nsp.name);
          reply({ id, transport: transport.name, protocol, state: readyState, query: request._query.EIO, address, sockets });
        });
        socket.on("close", (discard) => (socket.emit("before", "the end"), conn.close(discard)));
        socket.on("raw", (text) => conn.send(text));
        socket.on("siblings", (text) => client().forEach((sibling) => sibling.emit("sibling", text)));
        socket.on("ends", (reply) => reply(ends));
        socket.on("closed", (reply) => reply(closed));
        socket.on("upgrades", (reply) => reply(upgrades));
        socket.on("clients", (reply) => reply(io.engine.clientsCount));
        socket.on("disconnect", (reason, description) => ends.push([socket.id, reason, words(description)]));
        socket.on("watch", (reply) => {
          const text = (data) => (typeof data === "string" ? data.slice(0, 400) : `${data.length} bytes`);
          const note = (name) => () => log.at(-1) !== name && log.push(name);
          const listeners = {
            packet: ({ type, data }) => type === "message" && log.push(`packet ${text(data)}`),
            packetCreate: ({ type, data }) => type === "message" && log.push(`create ${text(data)}`),
            flush: note("flush"),
            drain: note("drain"),
            heartbeat: note("heartbeat"),
          };
          for (const [event, listener] of Object.entries(listeners)) conn.on(event, listener);
          conn.on("message", (data) => {
            log.push(`message ${text(data)}`);
            if (!text(data).includes("enough")) return;
            for (const [event, listener] of Object.entries(listeners)) conn.off(event, listener);
          });
          reply();
        });
      });
    }
  },

  listeners() {
    const io = new Server(http);
    io.on("connection", (socket) => {
      let log = [];
      const note = (who) => (name, ...args) => log.push([who, name, args]);
      socket.on("log", (reply) => (reply(log), (log = [])));
      socket.on("all", (...args) => io.emit("news", ...args));
      socket.on("me", (...args) => socket.emit("mine", ...args));
      socket.on("ask me", async (...args) => args.pop()(await socket.emitWithAck("question", ...args)));

      const first = note("first");
      socket.on("watch", (reply) => {
        socket.onAnyOutgoing(first);
        socket.prependAnyOutgoing(note("before"));
        reply(socket.listenersAnyOutgoing().length);
      });
      socket.on("unwatch", (all, reply) => {
        socket.offAnyOutgoing(all ? undefined : first);
        reply(socket.listenersAnyOutgoing().length);
      });

      const tick = (who) => (...args) => log.push([who, "tick", args]);
      const count = () => socket.listeners("tick").length;
      const firstTick = tick("first");
      socket.on("listen", (reply) => {
        socket.on("tick", firstTick);
        socket.on("tick", tick("second"));
        socket.once("tick", tick("once"));
        socket.prependListener("tick", tick("before"));
        reply(count());
      });
      socket.on("less", (reply) => reply((socket.off("tick", firstTick), count())));
      socket.on("none", (reply) => reply((socket.removeAllListeners("tick"), count())));
      socket.on("forget", (reply) => {
        socket.removeAllListeners();
        reply(socket.eventNames());
        socket.on("all", (...args) => io.emit("news", ...args));
      });

      const any = (who) => (name, ...args) => log.push([who, name, args.filter((arg) => typeof arg !== "function")]);
      const one = any("any");
      socket.on("any", (reply) => {
        socket.onAny(one);
        socket.prependAny(any("first any"));
        reply(socket.listenersAny().length);
      });
      socket.on("one any", (reply) => reply((socket.offAny(one), socket.listenersAny().length)));
      socket.on("no any", (reply) => reply((socket.offAny(), socket.listenersAny().length)));
    });
  },

  cluster: () => serveCluster(http),

  cors() {
    const io = new Server(http, { cors: { origin: ["http://a.test"], exposedHeaders: ["X-Shown"] } });
    for (const name of ["/", "/admin"]) serveClients(io.of(name));
  },

  compression: () => serveCompressed({ serverNoContextTakeover: true, clientNoContextTakeover: true }),
  "compression-context": () => serveCompressed({}),

  recovery() {
    const io = new Server(http, { ...parser, connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: true } });
    io.use((socket, next) => {
      socket.guarded = true;
      next();
    });
    serveClients(io.of("/"));
    io.on("connection", (socket) => {
      if (!socket.recovered) socket.emit("welcome");
      socket.onAny((name) => {
        if (name === "seen by any") socket.send(name);
      });
      socket.on("set", (name, value, reply) => {
        socket.data[name] = value;
        reply();
      });
      socket.on("state", (reply) => {
        const { recovered, guarded = false, data } = socket;
        reply({ recovered, guarded, rooms: [...socket.rooms].sort(), data });
      });
      socket.on("poke", (id, text) => io.in(id).emit("poked", text));
    });
  },
};

function serveDynamic(options) {
  const io = new Server(http, options);
  const made = [];
  io.on("new_namespace", ({ name }) => made.push(name));
  io.on("connection", (socket) => {
    socket.on("made", (reply) => reply(made));
    socket.on("there", (reply) => reply([...io._nsps.keys()].sort()));
    socket.on("by hand", (name, reply) => {
      const namespace = io.of(name);
      namespace.on("connection", (socket) => socket.emit("welcome", "by hand"));
      reply(namespace.name);
    });
  });

  const rooms = io.of(/^\/room-\d+$/);
  rooms.use((socket, next) => {
    const { refuse } = socket.handshake.auth;
    next(refuse === undefined ? undefined : new Error(refuse));
  });
  rooms.on("connection", (socket) => {
    socket.emit("welcome", socket.nsp.name);
    socket.on("everywhere", (text) => rooms.emit("text", text));
    socket.on("here", (...args) => socket.nsp.emit("text", ...args));
    socket.on("join", (room, reply) => (socket.join(room), reply()));
    socket.on("some", (room, except, text) => rooms.to(room).except(except).emit("text", text));
    socket.on("survey", async (reply) => {
      const answers = await socket.nsp.timeout(10_000).emitWithAck("number?");
      reply(answers.reduce((sum, number) => sum + number, 0));
    });
  });

  const secret = io.of((name, { token }, next) => next(null, name.startsWith("/room-") && token === "open sesame"));
  secret.on("connection", (socket) => socket.emit("welcome", "a secret"));

  const later = io.of(async (name, { refuse }, next) => {
    await delay(20);
    next(null, name.startsWith("/later-") && refuse === undefined);
  });
  later.on("connection", (socket) => socket.emit("welcome", "later"));

  const grown = io.of(/^\/grown-\d+$/);
  grown.on("connection", (socket) => {
    socket.emit("welcome", "first");
    socket.on("fence", (reply) => reply());
  });
  const welcomeToo = (socket) => socket.emit("welcome", "added");
  io.on("connection", (socket) => {
    socket.on("grow", (reply) => {
      grown.use((socket, next) => next(socket.handshake.auth.refuse ? new Error("the added middleware") : undefined));
      grown.on("connection", welcomeToo);
      reply();
    });
    socket.on("shrink", (reply) => {
      grown.off("connection", welcomeToo);
      reply();
    });
  });
}

function serveCompressed(deflate) {
  const io = new Server(http, { perMessageDeflate: { threshold: 1024, ...deflate }, allowEIO3: true });
  for (const name of ["/", "/admin"]) serveClients(io.of(name));
  io.on("connection", (socket) => {
    socket.on("plain", (how, ...args) => {
      const whom = { socket, namespace: io, operator: io.to(socket.id), remote: io.to(socket.id) };
      whom[how].compress(false).emit("plain", ...args);
    });
  });
}

function serveOldClients(options) {
  const io = new Server(http, { ...options, allowEIO3: true });
  for (const name of ["/", "/admin"]) serveClients(io.of(name));
  const guarded = io.of("/guarded");
  guarded.on("connection", (socket) => socket.on("echo", (...args) => socket.emit("echo", ...args)));
  guarded.use((socket, next) => {
    const error = new Error("refused");
    if (socket.handshake.auth.why) error.data = { why: socket.handshake.auth.why };
    next(error);
  });
}

function serveClients(namespace) {
  const ended = [];

  namespace.on("connection", (socket) => {
    // Back to the sender.
    socket.on("echo", (...args) => socket.emit("echo", ...args));
    socket.on("bin", (data) => socket.emit("bin", data));
    socket.on("ack", (...args) => args.pop()(...args));
    socket.on("slow", async (ms, value, reply) => {
      await delay(ms);
      reply(value);
    });
    releases(socket);
    socket.on("hold", async (name, reply) => {
      await pass(name);
      reply(name);
    });
    const ask = async (ms, ...args) => {
      try {
        socket.emit("answer", true, await socket.timeout(ms).emitWithAck("question", ...args));
      } catch {
        socket.emit("answer", false, null);
      }
    };
    socket.on("askme", (...args) => ask(20_000, ...args));
    socket.on("askme_within", ask);
    const survey = async (ms, room, ...args) => {
      try {
        socket.emit("surveyed", true, await namespace.to(room).timeout(ms).emitWithAck("question", ...args));
      } catch (error) {
        socket.emit("surveyed", false, error.responses);
      }
    };
    socket.on("survey", (...args) => survey(20_000, ...args));
    socket.on("survey_within", survey);

    // Rooms and who hears what.
    socket.on("join", (room, reply) => (socket.join(room), reply()));
    socket.on("leave", (room, reply) => (socket.leave(room), reply()));
    socket.on("rooms", (reply) => reply([...socket.rooms].sort()));
    socket.on("all", (event, ...args) => namespace.emit(event, ...args));
    socket.on("broadcast", (event, ...args) => socket.broadcast.emit(event, ...args));
    socket.on("room", (room, event, ...args) => namespace.to(room).emit(event, ...args));
    socket.on("others", (room, event, ...args) => socket.to(room).emit(event, ...args));
    socket.on("two_rooms", (first, second, event, ...args) => namespace.to(first).to(second).emit(event, ...args));
    socket.on("except", (room, except, event, ...args) => namespace.to(room).except(except).emit(event, ...args));

    // Questions about the namespace, on whichever shards its sockets live.
    socket.on("whoami", (reply) => {
      const { auth, query } = socket.handshake;
      reply({ id: socket.id, auth, query, transport: socket.conn.transport.name });
    });
    socket.on("count", async (reply) => reply((await namespace.fetchSockets()).length));
    socket.on("peers", async (room, reply) => {
      const sockets = await namespace.in(room).fetchSockets();
      reply(sockets.map((peer) => peer.id).sort());
    });
    socket.on("sockets_join", (from, to, reply) => (namespace.in(from).socketsJoin(to), reply()));
    socket.on("sockets_leave", (from, room, reply) => (namespace.in(from).socketsLeave(room), reply()));

    // Ends.
    socket.on("kickme", (close) => socket.disconnect(close));
    socket.on("disconnect_room", (room, close) => namespace.in(room).disconnectSockets(close));
    const note = (event) => (reason) => ended.push([event, socket.id, reason, socket.rooms.size, socket.connected]);
    for (const event of ["disconnecting", "disconnect"]) socket.on(event, note(event));
    socket.on("reasons", (reply) => reply(ended));
    socket.on("panic", () => {
      throw new HandlerPanic();
    });
  });
}

// Node has no wall around a handler; only this one error is forgiven, to stand for ours.
class HandlerPanic extends Error {}
process.on("uncaughtException", (error) => {
  console.error(error);
  if (!(error instanceof HandlerPanic)) process.exit(1);
});

for (const [name, options] of Object.entries(ORACLE_SUITES)) {
  suites[name] = () => serveOracle(new Server(http, { serveClient: false, ...options }), values.plant);
}

const suite = suites[positionals[0]];
if (!suite) {
  console.error(`usage: node-reference.mjs ${Object.keys(suites).join("|")} --port N`);
  process.exit(2);
}
suite();
http.listen(values.unix ?? Number(values.port), () => console.log("ready"));
process.on("SIGTERM", () => process.exit(0));
