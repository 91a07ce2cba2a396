// The peers that run on JavaScript, each with the events of the suite `bench` (tests/conformance/README.md).
//
//   node server.mjs ws      --port N      socket.io on its default engine
//   node server.mjs uws     --port N      socket.io on uWebSockets.js
//   node server.mjs raw-uws --port N      uWebSockets.js alone: no Socket.IO server, only its frames, ready-made
//   bun  server.mjs bun     --port N      socket.io on Bun's own engine
//
// Options of the rows that need them: --deflate (permessage-deflate), --parser msgpack (socket.io-msgpack-parser),
// --recovery (connection state recovery), --namespaces N (/n0, /n1, ... too), --impatient (every deadline 5 s, for tests/attacks),
// --tls FOLDER (`ws` only: with its chain.pem and key.pem).
// Prints `ready` when it listens and stops at SIGTERM.

import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    port: { type: "string", default: "3000" },
    deflate: { type: "boolean", default: false },
    parser: { type: "string", default: "default" },
    recovery: { type: "boolean", default: false },
    impatient: { type: "boolean", default: false },
    namespaces: { type: "string", default: "0" },
    tls: { type: "string" },
  },
});
const port = Number(values.port);
const ready = () => console.log(`ready on ${port}`);
process.on("SIGTERM", () => process.exit(0));

async function options() {
  return {
    serveClient: false,
    ...(values.deflate && { perMessageDeflate: { threshold: 0 } }),
    ...(values.parser === "msgpack" && { parser: (await import("socket.io-msgpack-parser")).default }),
    ...(values.recovery && { connectionStateRecovery: {} }),
    ...(values.impatient && { pingInterval: 5000, pingTimeout: 5000, upgradeTimeout: 5000, connectTimeout: 5000 }),
  };
}

async function certificates() {
  if (!values.tls) return {};
  const { readFileSync } = await import("node:fs");
  return { cert: readFileSync(`${values.tls}/chain.pem`), key: readFileSync(`${values.tls}/key.pem`) };
}

function serveBench(server) {
  serveNamespace(server.of("/"));
  for (let index = 0; index < Number(values.namespaces); index++) serveNamespace(server.of(`/n${index}`));
}

function serveNamespace(io) {
  io.on("connection", (socket) => {
    socket.on("echo", (...args) => socket.emit("echo", ...args));
    socket.on("ack", (...args) => args.pop()(...args));
    socket.on("broadcast", (...args) => io.emit("broadcast", ...args));
    socket.on("join", (room) => socket.join(room));
    socket.on("room", (room, ...args) => io.to(room).emit("room", ...args));
    socket.on("bin", (buffer) => socket.emit("bin", buffer));
  });
}

const engines = {
  async ws() {
    const { createServer } = await import(values.tls ? "node:https" : "node:http");
    const { Server } = await import("socket.io");
    const http = createServer(await certificates(), (_request, response) => response.writeHead(404).end());
    serveBench(new Server(http, await options()));
    http.listen({ port, host: "::", backlog: 4096 }, ready);
  },

  async uws() {
    const { default: uws } = await import("@trufflesuite/uws-js-unofficial");
    const { Server } = await import("socket.io");
    const app = uws.App();
    const io = new Server(await options());
    // Not an option of Socket.IO: this engine compresses as its application is told to.
    io.attachApp(app, values.deflate ? { compression: uws.SHARED_COMPRESSOR } : {});
    serveBench(io);
    app.listen(port, (token) => token && ready());
  },

  async bun() {
    const { Server: Engine } = await import("@socket.io/bun-engine");
    const { Server } = await import("socket.io");
    const io = new Server(await options());
    const engine = new Engine({ path: "/socket.io/" });
    io.bind(engine);
    serveBench(io);
    globalThis.Bun.serve({ port, ...engine.handler() });
    ready();
  },

  // The handshake is four ready-made texts; an event goes back as the bytes that came, to one or to a topic.
  // Everything a Socket.IO server is for is left out: sessions, heartbeats, parsing, rooms by name, acknowledgements.
  async "raw-uws"() {
    const { default: uws } = await import("@trufflesuite/uws-js-unofficial");
    const open = '0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}';
    const app = uws.App();
    app.ws("/socket.io/", {
      maxPayloadLength: 1_000_000,
      idleTimeout: 0,
      ...(values.deflate && { compression: uws.SHARED_COMPRESSOR }),
      open(socket) {
        socket.subscribe("all");
        socket.send(open);
      },
      message(socket, message, isBinary) {
        if (isBinary) return socket.send(message, true);
        const bytes = Buffer.from(message);
        switch (bytes[1]) {
          case 0x30: // CONNECT
            return socket.send('40{"sid":"AAAAAAAAAAAAAAAAAAAA"}');
          case 0x32: // EVENT: `42["b..` is a broadcast, everything else an echo; `drive` asks it for no acks and rooms
            if (bytes[4] === 0x62) return app.publish("all", message, false, values.deflate);
            return socket.send(message, false, values.deflate);
          case 0x35: // BINARY_EVENT
            return socket.send(message);
        }
      },
    });
    app.any("/*", (response) => response.writeStatus("404").end());
    app.listen(port, (token) => token && ready());
  },
};

const serve = engines[positionals[0]];
if (!serve) {
  console.error(`usage: server.mjs ${Object.keys(engines).join("|")} --port N`);
  process.exit(2);
}
await serve();
