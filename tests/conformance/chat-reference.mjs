// The chat example's server on Node: the page and its events (described at the top of the page) without Ringio.
//
//   node chat-reference.mjs --port N          (--shards and --driver are accepted and ignored)

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const HISTORY_COUNT = 50;
const NAME_LENGTH_MAX = 24;
const TEXT_LENGTH_MAX = 2000;

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "3000" },
    shards: { type: "string" },
    driver: { type: "string" },
  },
});

const PAGE = new URL("../../engine/server/examples/chat/index.html", import.meta.url);
const http = createServer(async (request, response) => {
  if (request.url !== "/") return response.writeHead(404).end();
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(await readFile(PAGE));
});

const io = new Server(http);
const histories = new Map();

io.on("connection", (socket) => {
  socket.on("join", async ({ name, room }, reply) => {
    await leave(socket);
    socket.data = { name: name.slice(0, NAME_LENGTH_MAX), room: room.slice(0, NAME_LENGTH_MAX) };
    socket.join(key(socket));
    socket.to(key(socket)).emit("notice", `${socket.data.name} came in`);
    const members = await tellMembers(key(socket));
    reply({ members, history: histories.get(key(socket)) ?? [] });
  });
  socket.on("chat message", (text) => {
    if (!socket.data.room || text.trim() === "") return;
    const message = { from: socket.data.name, text: text.slice(0, TEXT_LENGTH_MAX), at: Date.now() };
    const history = histories.get(key(socket)) ?? [];
    histories.set(key(socket), [...history, message].slice(-HISTORY_COUNT));
    io.to(key(socket)).emit("chat message", message);
  });
  socket.on("typing", (typing) => {
    if (socket.data.room) socket.to(key(socket)).emit("typing", { from: socket.data.name, typing });
  });
  socket.on("disconnect", () => leave(socket));
});

// Not the bare name: a room called like somebody's id would be that somebody.
const key = (socket) => `room:${socket.data.room}`;

async function leave(socket) {
  if (!socket.data.room) return;
  const left = key(socket);
  socket.leave(left);
  io.to(left).emit("notice", `${socket.data.name} left`);
  await tellMembers(left);
}

async function tellMembers(room) {
  const members = (await io.in(room).fetchSockets()).map((socket) => socket.data.name).sort();
  io.to(room).emit("members", members);
  return members;
}

http.listen(Number(values.port), () => console.log("ready"));
process.on("SIGTERM", () => process.exit(0));
