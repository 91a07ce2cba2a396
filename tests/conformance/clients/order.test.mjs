// Nothing is lost, doubled or reordered: floods over every transport, through an upgrade, and over a new TCP connection
// for every request, so that the requests of one session land on shards that do not own it.

import assert from "node:assert/strict";
import { Agent } from "node:http";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { client, close, connect, connected, crowd, emitWithAck, listen, TRANSPORTS, upgraded } from "../harness/client.mjs";
import { eventually } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const numbers = (count) => Array.from({ length: count }, (_, number) => [number]);

suite("clients", "order", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    test(`a flood comes back whole and in order (${way})`, async () => {
      const socket = await connect(server, transport);
      const echoes = listen(socket, "echo");
      for (let number = 0; number < 2000; number += 1) socket.emit("echo", number);
      assert.deepEqual(await echoes.take(2000), numbers(2000));
      await emitWithAck(socket, "ack");
      assert.equal(echoes.size, 0);
      close(socket);
    });
  }

  describe("while upgrading", () => {
    test("what a client sends and hears stays whole and in order", async () => {
      const sockets = Array.from({ length: 12 }, () => client(server, TRANSPORTS.upgrade));
      await Promise.all(sockets.map(async (socket) => {
        const echoes = listen(socket, "echo");
        // Sends from the first moment until well after the upgrade, so that it falls into the middle of the stream.
        let count = 0;
        let last = Infinity;
        const isUpgraded = upgraded(socket.connect()).finally(() => (last = count + 100));
        while (count < last) {
          for (let burst = 0; burst < 3; burst += 1) socket.emit("echo", count++);
          await delay(1);
        }
        await isUpgraded;
        assert.deepEqual(await echoes.take(count), numbers(count));
        await emitWithAck(socket, "ack");
        assert.equal(echoes.size, 0);
      }));
      close(...sockets);
    });

    test("what others send to it stays whole and in order, binary between text", async () => {
      const sender = await connect(server, TRANSPORTS["WebSocket only"]);
      const sockets = Array.from({ length: 12 }, () => client(server, TRANSPORTS.upgrade));
      const inboxes = sockets.map((socket) => listen(socket, "stream"));
      const upgrades = sockets.map(async (socket) => {
        await connected(socket);
        await emitWithAck(socket, "join", "stream");
        await upgraded(socket);
      });
      let count = 0;
      let last = Infinity;
      const done = Promise.all(upgrades).finally(() => (last = count + 100));
      while (count < last) {
        sender.emit("room", "stream", "stream", count, count % 4 ? "text" : Buffer.alloc(100, count));
        count += 1;
        await delay(1);
      }
      await done;
      await emitWithAck(sender, "ack");
      for (const [index, inbox] of inboxes.entries()) {
        // It joined somewhere in the stream, and from there on misses nothing.
        const [[first]] = await inbox.take(1);
        for (let number = first + 1; number < count; number += 1) {
          const [seen, content] = await inbox.next();
          assert.equal(seen, number, `client ${index}`);
          assert.deepEqual(content, number % 4 ? "text" : Buffer.alloc(100, number));
        }
        await emitWithAck(sockets[index], "ack");
        assert.equal(inbox.size, 0);
      }
      close(sender, ...sockets);
    });
  });

  describe("every request on a TCP connection of its own", () => {
    const scattered = { ...TRANSPORTS["polling only"], agent: new Agent({ keepAlive: false }) };

    test("a session keeps its order", async () => {
      const sockets = await Promise.all(Array.from({ length: 8 }, () => connect(server, scattered)));
      await Promise.all(sockets.map(async (socket) => {
        const echoes = listen(socket, "echo");
        for (let number = 0; number < 300; number += 1) {
          socket.emit("echo", number);
          if (number % 10 === 0) await delay(1);
        }
        assert.deepEqual(await echoes.take(300), numbers(300));
        await emitWithAck(socket, "ack");
        assert.equal(echoes.size, 0);
      }));
      close(...sockets);
    });

    test("binary and large bodies arrive whole", async () => {
      const socket = await connect(server, scattered);
      const bytes = Buffer.alloc(500_000, "scattered");
      for (let round = 0; round < 5; round += 1) {
        const back = await emitWithAck(socket, "ack", { round, bytes });
        assert.equal(back.round, round);
        assert.ok(back.bytes.equals(bytes));
      }
      close(socket);
    });

    test("rooms reach it like any other", async () => {
      const [socket, ...others] = [await connect(server, scattered), ...(await crowd(server, 5))];
      const heard = listen(socket, "news");
      await emitWithAck(socket, "join", "scattered");
      for (const [index, other] of others.entries()) {
        other.emit("room", "scattered", "news", index);
        assert.deepEqual(await heard.next(), [index]);
      }
      close(socket, ...others);
    });

    test("the WebSocket of an upgrade finds the session, whichever shard accepts it", async () => {
      const agent = new Agent({ keepAlive: false });
      const sockets = await Promise.all(Array.from({ length: 16 }, () => connect(server, { ...TRANSPORTS.upgrade, agent })));
      for (const socket of sockets) {
        assert.equal((await emitWithAck(socket, "whoami")).transport, "websocket");
        // Those of earlier tests go when the server hears of it.
        await eventually(() => emitWithAck(socket, "count"), (count) => count === sockets.length, "the number of sockets");
      }
      close(...sockets);
    });
  });
});
