// The official Engine.IO client, without Socket.IO on top: kinds of binary, order, heartbeats across an upgrade, ends.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp, createServer } from "node:net";
import { after, describe, test } from "node:test";
import { Socket } from "engine.io-client";
import { Engine } from "../harness/engine.mjs";
import { eventually, inTime, Inbox, within } from "../harness/inbox.mjs";
import { PATIENT, suite } from "../harness/server.mjs";

const WAYS = { polling: ["polling"], WebSocket: ["websocket"], upgrade: ["polling", "websocket"] };
const open = new Set();
after(() => open.forEach((socket) => socket.close()));

function socketOf({ url }, options) {
  const socket = new Socket(url, { path: "/engine.io/", ...options });
  open.add(socket);
  const messages = new Inbox();
  socket.on("message", (data) => messages.push(data));
  const heartbeats = new Inbox();
  socket.on("heartbeat", () => heartbeats.push(1));
  // Not `once`: that fails at the error that comes before, if a request finds the session closed.
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.on("close", () => {
    open.delete(socket);
    messages.close(new Error("closed"));
  });
  return { socket, messages, heartbeats, closed: () => within(closed, "not closed") };
}

async function opened(server, transports, options = {}) {
  const client = socketOf(server, { transports, ...options });
  await within(once(client.socket, "open"), "not open");
  if (transports.length === 2) await within(once(client.socket, "upgrade"), "no upgrade");
  return client;
}

/** Until the server knows the session no more. */
function gone(server, sid) {
  return eventually(() => new Engine(server, "/engine.io/").poll(sid), ({ body }) => body.includes('"code":1'), "the session lives on");
}

suite(["engine-v4", ...PATIENT], "the Engine.IO client", (server) => {
  for (const [way, transports] of Object.entries(WAYS)) {
    describe(way, () => {
      test("binary of every kind comes back as its bytes", async () => {
        const { socket, messages } = await opened(server, transports);
        const kinds = [
          Buffer.from([0, 1, 254, 255]),
          new Int8Array([0, 1, -2, -1]),
          new Uint8Array([5]),
          new Int32Array([1, -1, 2 ** 31 - 1]),
          new Float64Array([Math.PI]),
          new Int32Array([7, 8]).buffer,
          new Uint8Array(0),
          new Uint8Array([9, 8, 7, 6]).subarray(1, 3),
        ];
        for (const sent of kinds) {
          socket.send(sent);
          const bytes = ArrayBuffer.isView(sent) ? Buffer.from(sent.buffer, sent.byteOffset, sent.byteLength) : Buffer.from(sent);
          const back = await messages.next();
          assert.ok(Buffer.isBuffer(back) && back.equals(bytes), `${sent.constructor.name}: ${back}`);
        }
        socket.close();
      });

      test("binary comes as an ArrayBuffer if that is asked for", async () => {
        const { socket, messages } = await opened(server, transports);
        socket.binaryType = "arraybuffer";
        socket.send(Buffer.from([1, 2, 3]));
        const back = await messages.next();
        assert.ok(back instanceof ArrayBuffer);
        assert.deepEqual([...new Uint8Array(back)], [1, 2, 3]);
        socket.close();
      });

      test("many messages without a pause keep their order and their characters", async () => {
        const { socket, messages } = await opened(server, transports);
        const sent = Array.from({ length: 300 }, (_, index) => (index % 50 === 7 ? Buffer.from([index % 256]) : `${index} 石室詩士施氏，嗜獅，誓食十獅。😀`));
        for (const message of sent) socket.send(message);
        assert.deepEqual(await messages.take(sent.length), sent);
        socket.close();
      });

      test("heartbeats go on between messages", async () => {
        const { socket, messages, heartbeats } = await opened(server, transports);
        for (let beat = 0; beat < 2; beat += 1) {
          await heartbeats.next();
          const sent = Array.from({ length: 50 }, (_, index) => `${beat} ${index}`);
          for (const message of sent) socket.send(message);
          assert.deepEqual(await messages.take(sent.length), sent);
        }
        assert.equal(socket.readyState, "open");
        socket.close();
      });

      test("heartbeats go on while megabytes are on their way", async () => {
        const { socket, messages, heartbeats } = await opened(server, transports);
        const payload = "a".repeat(65_000);
        for (let number = 0; number < 60; number += 1) socket.send(`${payload}${number}`);
        for (let number = 0; number < 60; number += 1) assert.ok((await messages.next()) === `${payload}${number}`, `${number}`);
        await heartbeats.take(heartbeats.size + 1);
        assert.equal(socket.readyState, "open");
        socket.close();
      });
    });
  }

  test("a client that closes while it upgrades leaves nothing behind", async () => {
    for (let round = 0; round < 20; round += 1) {
      const { socket, closed } = socketOf(server, { transports: WAYS.upgrade });
      await within(once(socket, round % 2 === 0 ? "open" : "upgrading"), "it did not come so far");
      const { id } = socket;
      socket.close();
      await closed();
      await gone(server, id);
    }
  });

  test("behind a proxy that knows no WebSocket, polling goes on", async () => {
    const proxy = createServer((client) => {
      client.once("data", (head) => {
        if (/^upgrade:/im.test(head.toString("latin1"))) return client.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        const upstream = connectTcp(server.port, "127.0.0.1");
        upstream.write(head);
        client.pipe(upstream).pipe(client);
        upstream.on("error", () => client.destroy());
        client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
      });
      client.on("error", () => {});
    });
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    const { socket, messages } = socketOf({ url: `http://127.0.0.1:${proxy.address().port}` }, { transports: WAYS.upgrade });
    await within(once(socket, "upgradeError"), "the upgrade did not fail");
    socket.send("still here");
    assert.equal(await messages.next(), "still here");
    assert.equal(socket.transport.name, "polling");
    socket.close();
    proxy.close();
  });

  test("the parameters of the query do not matter, nor does their order", async () => {
    const engine = new Engine(server, "/engine.io/");
    for (const query of [{ a: "b", transport: "polling", EIO: "4" }, { EIO: "4", t: "x", transport: "polling", "ü&=": "&" }]) {
      const { status, body } = await engine.request("GET", query);
      assert.equal(status, 200);
      assert.equal(body[0], "0");
    }
  });

  test("a request without the slash at the end of the path finds no server", async () => {
    const { status } = await new Engine(server, "/engine.io").request("GET", { EIO: 4, transport: "polling" });
    assert.equal(status, 404);
  });
});

suite("engine-v4", "the Engine.IO client, without pongs", (server) => {
  for (const [way, transports] of Object.entries(WAYS)) {
    describe(way, () => {
      test("a client that does not answer pings is closed by the server", async () => {
        const { socket, closed } = await inTime(async () => {
          const client = socketOf(server, { transports });
          const ready = once(client.socket, transports.length === 2 ? "upgrade" : "open").then(() => client, () => undefined);
          // Closed already: too late for a pong.
          return Promise.race([ready, client.closed().then(() => undefined)]);
        }, "not open");
        // The client is told to answer nothing, and not to give up by itself.
        socket._sendPacket = () => {};
        socket._pingTimeout = 1_000_000;
        socket._resetPingTimeout();
        await closed();
        await gone(server, socket.id);
      });
    });
  }
});
