// The suite `cluster` of the reference server: three servers of Node in one process, linked by an adapter of our own on
// the official base class, which decides what operations mean; this only carries messages.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { ClusterAdapter } from "socket.io-adapter";

/** The adapters of all servers, by namespace. */
const neighbours = new Map();

class InProcessAdapter extends ClusterAdapter {
  constructor(namespace) {
    super(namespace);
    if (!neighbours.has(namespace.name)) neighbours.set(namespace.name, new Set());
    this.all = neighbours.get(namespace.name);
    this.all.add(this);
  }

  async doPublish(message) {
    for (const other of this.all) if (other !== this) setImmediate(() => other.onMessage(structuredClone(message)));
    return "";
  }

  async doPublishResponse(uid, response) {
    for (const other of this.all) if (other.uid === uid) setImmediate(() => other.onResponse(structuredClone(response)));
  }

  async serverCount() {
    return this.all.size;
  }

  close() {
    this.all.delete(this);
  }
}

/** Serves on `http`, which the caller lets listen, and on two ports that the kernel chooses. */
export function serveCluster(http) {
  const https = [http, createServer(), createServer()];
  for (const server of https.slice(1)) server.listen(0);
  const ports = () => https.map((server) => server.address().port);
  https.forEach((server, number) => handlers(new Server(server, { adapter: InProcessAdapter }), number, ports));
}

const sorted = (list) => [...list].sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));

function handlers(io, number, ports) {
  let changes = [];
  const note = (mark) => (room, id) => changes.push(id === undefined ? [mark, room] : [mark, room, id]);
  const { adapter } = io.of("/");
  adapter.on("create-room", note("create"));
  adapter.on("join-room", note("join"));
  adapter.on("leave-room", note("leave"));
  adapter.on("delete-room", note("delete"));

  io.on("heard", (...args) => io.local.emit("heard", number, ...args));
  io.on("number", (reply) => reply(number, "ignored"));
  io.on("number", (reply) => reply("too late"));
  io.on("double", (bytes, reply) => reply(Buffer.concat([bytes, bytes])));
  if (number === 2) io.on("of the last", (reply) => reply("last"));

  io.on("connection", (socket) => {
    socket.data.server = number;
    socket.on("ports", (reply) => reply(ports()));
    socket.on("number", (reply) => reply(number));
    socket.on("ack", (...args) => args.pop()(...args));
    socket.on("join", (room, reply) => (socket.join(room), reply()));
    socket.on("all", (event, ...args) => io.emit(event, ...args));
    socket.on("local", (event, ...args) => io.local.emit(event, ...args));
    socket.on("broadcast", (event, ...args) => socket.broadcast.emit(event, ...args));
    socket.on("room", (room, except, event, ...args) => io.to(room).except(except).emit(event, ...args));
    socket.on("sockets_join", (from, room) => io.in(from).socketsJoin(room));
    socket.on("sockets_leave", (from, room) => io.in(from).socketsLeave(room));
    socket.on("disconnect_room", (room, close) => io.in(room).disconnectSockets(close));
    socket.on("survey", async (room, ms, reply) => {
      try {
        reply([true, sorted(await io.to(room).timeout(ms).emitWithAck("question", room))]);
      } catch (error) {
        reply([false, sorted(error.responses)]);
      }
    });
    socket.on("fetch", async (room, reply) => {
      const found = await io.in(room).fetchSockets();
      reply(sorted(found.map(({ id, rooms, data, handshake }) => ({ id, rooms: sorted(rooms), data, auth: handshake.auth, transport: handshake.query.transport }))));
    });
    socket.on("remote", async (id, what, value, reply) => {
      const [other] = await io.in(id).fetchSockets();
      if (what === "emit") other.emit("poked", value);
      if (what === "join") other.join(value);
      if (what === "leave") other.leave(value);
      if (what === "disconnect") other.disconnect(value);
      if (what !== "ask") return reply();
      try {
        reply([true, await other.timeout(value).emitWithAck("question", "remote")]);
      } catch {
        reply([false, null]);
      }
    });
    socket.on("servers", (...args) => io.serverSideEmit("heard", ...args));
    socket.on("ask servers", async (event, ...args) => {
      const reply = args.pop();
      try {
        reply([true, sorted(await io.serverSideEmitWithAck(event, ...args)), null]);
      } catch (error) {
        reply([false, sorted(error.responses), error.message]);
      }
    });
    socket.on("reserved", (event, reply) => {
      try {
        io.serverSideEmit(event);
        reply(false);
      } catch {
        reply(true);
      }
    });
    socket.on("server count", async (reply) => reply(await adapter.serverCount()));
    socket.on("changes", (reply) => (reply(changes), (changes = [])));
  });
}
