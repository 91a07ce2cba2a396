// A bare Engine.IO speaker: HTTP requests and WebSockets by hand, as the protocol document has them.
//
// Each HTTP request has a TCP connection of its own, so that the requests of one session land on several shards.

import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import WebSocket from "ws";
import { isRead } from "./arrival.mjs";
import { Inbox, within } from "./inbox.mjs";

export class Engine {
  #server;
  #path;

  constructor(server, path = "/socket.io/") {
    this.#server = server;
    this.#path = path;
  }

  target(query) {
    return `${this.#path}?${new URLSearchParams(query)}`;
  }

  /** Resolves to `{ status, headers, body }` of whatever is answered. `onSent` is called with the port it was sent from. */
  request(method, query, { body, headers = {}, signal, onSent = () => {} } = {}) {
    const agent = new Agent({ keepAlive: false });
    const answer = new Promise((resolve, reject) => {
      const url = this.#server.url + this.target(query);
      const sent = request(url, { method, headers, agent, signal }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("error", reject);
        response.on("end", () => {
          resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() });
        });
      });
      sent.on("error", reject);
      sent.on("finish", () => onSent(sent.socket.localPort));
      sent.end(body);
    });
    return within(answer, `${method} ${JSON.stringify(query)} was not answered`);
  }

  poll(sid, options) {
    return this.request("GET", { EIO: 4, transport: "polling", sid }, options);
  }

  /** A GET that waits at the server: its `answer`, and the port that it came from. */
  async waitingPoll(sid, options = {}) {
    let answer;
    const sent = new Promise((resolve, reject) => {
      answer = this.poll(sid, { ...options, onSent: resolve });
      answer.catch(reject);
    });
    const port = await sent;
    await isRead(this.#server, port);
    return { answer, port };
  }

  post(sid, body, headers = { "content-type": "text/plain;charset=UTF-8" }) {
    return this.request("POST", { EIO: 4, transport: "polling", sid }, { body, headers });
  }

  /** Opens a polling session; resolves to what the OPEN packet says. */
  async open() {
    const { status, body } = await this.request("GET", { EIO: 4, transport: "polling" });
    assert.equal(status, 200);
    assert.equal(body[0], "0");
    return JSON.parse(body.slice(1));
  }

  websocket(query = {}) {
    const url = this.#server.url.replace("http", "ws") + this.target({ EIO: 4, transport: "websocket", ...query });
    return new Wire(url);
  }

  /** A session begun over WebSocket, its OPEN packet already taken. */
  async openWebsocket() {
    const wire = this.websocket();
    const open = await wire.next();
    assert.equal(open[0], "0");
    return Object.assign(wire, { handshake: JSON.parse(open.slice(1)) });
  }

  /** `sid` is no session of the server's (any more). */
  async assertUnknown(sid) {
    assertRefused(await this.poll(sid), 400, 1, "Session ID unknown");
  }
}

/** A WebSocket whose messages wait to be asked for: text as strings, binary as buffers. */
export class Wire {
  #socket;
  #inbox = new Inbox();

  constructor(url) {
    this.#socket = new WebSocket(url, { perMessageDeflate: false });
    this.#socket.on("message", (data, isBinary) => this.#inbox.push(isBinary ? data : data.toString()));
    this.#socket.on("error", (error) => this.#inbox.close(error));
    this.isOpen = new Promise((resolve, reject) => {
      this.#socket.on("open", resolve);
      this.#socket.on("error", reject);
    });
    this.isOpen.catch(() => {});
    const closed = new Promise((resolve) => {
      this.#socket.on("close", (code, reason) => {
        this.#inbox.close(new Error(`the WebSocket was closed (${code})`));
        resolve({ code, reason: reason.toString() });
      });
    });
    this.closed = () => within(closed, "the WebSocket was not closed");
  }

  send(data) {
    this.#socket.send(data);
  }

  next() {
    return this.#inbox.next();
  }

  /** The next message that is not a ping. Pings are answered: without a pong there is neither another one nor, in the end, a session. */
  async nextMessage() {
    for (;;) {
      const message = await this.next();
      if (message !== "2") return message;
      this.send("3");
    }
  }

  close() {
    this.#socket.close();
  }
}

export function assertRefused(answer, status, code, message) {
  assert.equal(answer.status, status);
  assert.equal(answer.headers["content-type"], "application/json");
  assert.deepEqual(JSON.parse(answer.body), { code, message });
}
