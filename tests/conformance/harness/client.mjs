// The official JavaScript client, set up as people do, with an inbox for what arrives.

import { once } from "node:events";
import { after } from "node:test";
import { Manager } from "socket.io-client";
import { Inbox, within } from "./inbox.mjs";
import { PARSERS } from "./parsers.mjs";

/** The three ways to talk. */
export const TRANSPORTS = {
  "polling only": { transports: ["polling"] },
  "WebSocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

const managers = new Set();
after(() => {
  for (const manager of managers) manager._close();
});

/** A client of its own connection, not yet connected. Use `using` or `close(socket)`; what is left is closed at the end. */
export function client(server, { namespace = "/", auth, ...options } = {}) {
  const manager = new Manager(server.url, { reconnection: false, forceNew: true, autoConnect: false, timeout: 60_000, ...PARSERS[server.parser], ...options });
  managers.add(manager);
  return manager.socket(namespace, { auth });
}

/** A connected client; with `upgrade`, one whose connection has become a WebSocket. */
export async function connect(server, options = {}) {
  const socket = client(server, options);
  await connected(socket);
  if (options.transports?.length === 2) await upgraded(socket);
  return socket;
}

/** The socket, once it is connected; it is told to connect if it is not. */
export async function connected(socket) {
  if (socket.connected) return socket;
  const outcome = new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  socket.connect();
  await within(outcome, "not connected");
  return socket;
}

/** The connection of this client, which has been told to connect, has become a WebSocket. */
export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport?.name !== "websocket") await within(once(engine, "upgrade"), "no upgrade");
}

/** Ends the whole connection, as a closed page does. */
export function close(...sockets) {
  for (const socket of sockets) {
    socket.io._close();
    managers.delete(socket.io);
  }
}

/** Everything that arrives under this name from now on, each as its array of arguments. */
export function listen(socket, event) {
  const inbox = new Inbox();
  socket.on(event, (...args) => inbox.push(args));
  socket.on("disconnect", (reason) => inbox.close(new Error(`disconnected: ${reason}`)));
  return inbox;
}

/** The answer to an event. Fails at once on a socket that is not connected: it would keep the event for later. */
export function emitWithAck(socket, ...args) {
  if (!socket.connected) return Promise.reject(new Error(`"${args[0]}" on a socket that is not connected`));
  return within(socket.emitWithAck(...args), `"${args[0]}" was not acknowledged`);
}

/** Many clients at once: in turn WebSocket and polling, enough to land on every shard. */
export async function crowd(server, count, options = {}) {
  const ways = [TRANSPORTS["WebSocket only"], TRANSPORTS["polling only"]];
  return Promise.all(Array.from({ length: count }, (_, index) => connect(server, { ...ways[index % 2], ...options })));
}

/** Everything the server sent to these clients before this question has arrived when it is answered. */
export async function settle(sockets) {
  await Promise.all(sockets.map((socket) => emitWithAck(socket, "ack", "settle")));
}
