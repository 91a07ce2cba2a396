// How connections end: who asks for it, which reason each side is told, and what comes after.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { client, close, connect, connected, crowd, emitWithAck, TRANSPORTS } from "../harness/client.mjs";
import { Engine } from "../harness/engine.mjs";
import { eventually, within } from "../harness/inbox.mjs";
import { encodeMsgpack } from "../harness/parsers.mjs";
import { suite } from "../harness/server.mjs";

const msgpack = (packet) => `b${encodeMsgpack({ nsp: "/", ...packet }).toString("base64")}`;

/** Packets in the bodies of requests. */
const RAW = {
  default: { connect: "40", connected: /^40\{/, kickMe: '42["kickme",true]', disconnect: "41" },
  msgpack: { connect: msgpack({ type: 0 }), connected: /^b/, kickMe: msgpack({ type: 2, data: ["kickme", true] }), disconnect: "bgqR0eXBlAaNuc3ChLw==" },
};

suite("clients", "ends", (server) => {
  let witness;
  let adminWitness;

  before(async () => {
    witness = await connect(server, TRANSPORTS["WebSocket only"]);
    adminWitness = witness.io.socket("/admin");
    await connected(adminWitness);
  });
  after(() => close(witness));

  /** What the server said about this socket's end; at `disconnecting` it is connected and has its rooms, at `disconnect` neither. */
  async function assertEnded(id, reason, { rooms = 1, by = witness } = {}) {
    const mine = async () => (await emitWithAck(by, "reasons")).filter((row) => row[1] === id);
    const rows = await eventually(mine, (found) => found.length >= 2, `the end of ${id}`);
    assert.deepEqual(rows, [
      ["disconnecting", id, reason, rooms, true],
      ["disconnect", id, reason, 0, false],
    ]);
  }

  const ended = (socket) => within(once(socket, "disconnect"), "not disconnected").then(([reason]) => reason);

  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("the client leaves a namespace", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        await emitWithAck(admin, "join", "a");
        await emitWithAck(admin, "join", "b");
        const { id } = admin;
        const reason = ended(admin);
        admin.disconnect();
        assert.equal(await reason, "io client disconnect");
        await assertEnded(id, "client namespace disconnect", { rooms: 3, by: adminWitness });
        assert.equal(await emitWithAck(main, "ack", "stays"), "stays");
        close(main);
      });

      test("a connection that ends ends its sockets in all namespaces", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        const ids = [main.id, admin.id];
        main.io.engine.close();
        await assertEnded(ids[0], "transport close");
        await assertEnded(ids[1], "transport close", { by: adminWitness });
        close(main);
      });

      test("who connects again by hand hears each event once", async () => {
        const socket = await connect(server, transport);
        const { id } = socket;
        let connects = 0;
        const echoes = [];
        socket.on("connect", () => (connects += 1));
        socket.on("echo", (value) => echoes.push(value));
        const gone = ended(socket);
        socket.io.engine.close();
        await gone;
        await connected(socket);
        assert.notEqual(socket.id, id);
        socket.emit("echo", "once");
        await emitWithAck(socket, "ack");
        await emitWithAck(socket, "ack");
        assert.deepEqual([connects, echoes], [1, ["once"]]);
        close(socket);
      });

      test("the client closes its connection", async () => {
        const socket = await connect(server, transport);
        const { id } = socket;
        socket.io.engine.close();
        await assertEnded(id, "transport close");
        close(socket);
      });

      test("the server disconnects one socket, and the connection stays", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        const { id } = admin;
        const reason = ended(admin);
        admin.emit("kickme", false);
        assert.equal(await reason, "io server disconnect");
        await assertEnded(id, "server namespace disconnect", { by: adminWitness });
        assert.equal(await emitWithAck(main, "ack", "stays"), "stays");
        close(main);
      });

      test("the server disconnects a client from everything", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        const ids = [main.id, admin.id];
        const reasons = Promise.all([ended(main), ended(admin)]);
        const closed = once(main.io.engine, "close");
        admin.emit("kickme", true);
        assert.deepEqual(await reasons, ["io server disconnect", "io server disconnect"]);
        await within(closed, "the connection was not closed");
        await assertEnded(ids[0], "server namespace disconnect");
        await assertEnded(ids[1], "server namespace disconnect", { by: adminWitness });
        close(main);
      });
    });
  }

  test("the server disconnects a client before it has upgraded", async () => {
    for (let round = 0; round < 10; round += 1) {
      const socket = await connected(client(server, TRANSPORTS.upgrade));
      const { id } = socket;
      const reason = ended(socket);
      socket.emit("kickme", false);
      assert.equal(await reason, "io server disconnect");
      await assertEnded(id, "server namespace disconnect");
      assert.equal(await emitWithAck(await connected(socket), "ack", round), round);
      close(socket);
    }
  });

  test("a WebSocket that breaks is a transport close", async () => {
    const socket = await connect(server, TRANSPORTS["WebSocket only"]);
    const { id } = socket;
    socket.io.engine.transport.ws._socket.destroy();
    await assertEnded(id, "transport close");
    close(socket);
  });

  // A client that reads both at once is told of the close first, and so that the connection was lost.
  test("over polling, the disconnect packet and the close of the connection come in separate answers", async () => {
    const engine = new Engine(server);
    const { disconnect, ...packets } = RAW[server.parser];
    for (const isWaiting of [true, false]) {
      const { sid } = await engine.open();
      await engine.post(sid, packets.connect);
      assert.match((await engine.poll(sid)).body, packets.connected);
      const waiting = isWaiting && (await engine.waitingPoll(sid)).answer;
      await engine.post(sid, packets.kickMe);
      assert.equal((await (waiting || engine.poll(sid))).body, disconnect);
      assert.equal((await engine.poll(sid)).body.split("\x1e").at(-1), "1");
      await engine.assertUnknown(sid);
    }
  });

  for (const closes of [false, true]) {
    test(`the server disconnects a room, ${closes ? "connections included" : "connections stay"}`, async () => {
      const sockets = await crowd(server, 12);
      const members = sockets.slice(0, 6);
      const name = `doomed ${closes}`;
      await Promise.all(members.map((socket) => emitWithAck(socket, "join", name)));
      const ids = members.map(({ id }) => id);
      const reasons = Promise.all(members.map(ended));
      const engines = members.map((socket) => within(once(socket.io.engine, "close"), "not closed"));
      for (const engine of engines) engine.catch(() => {});
      sockets[11].emit("disconnect_room", name, closes);
      assert.deepEqual(new Set(await reasons), new Set(["io server disconnect"]));
      for (const id of ids) await assertEnded(id, "server namespace disconnect", { rooms: 2 });
      for (const socket of sockets.slice(6)) assert.equal(await emitWithAck(socket, "ack", 1), 1);
      if (closes) {
        await Promise.all(engines);
      } else {
        // The connection is open for another try.
        for (const socket of members) assert.equal(await emitWithAck(await connected(socket), "ack", 1), 1);
      }
      close(...sockets);
    });
  }
}, { parsers: ["default", "msgpack"] });

suite("clients", "reconnection", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    test(`a client finds the server again after a crash (${way})`, async () => {
      const options = { ...transport, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
      const socket = await connected(client(server, options));
      const first = socket.id;
      await emitWithAck(socket, "join", "hall");
      const lost = within(once(socket, "disconnect"), "not disconnected");
      await server.kill();
      const [reason] = await lost;
      assert.ok(["transport close", "transport error"].includes(reason), reason);

      const back = within(once(socket, "connect"), "not connected again");
      socket.emit("echo", "sent while away");
      const echo = within(once(socket, "echo"), "no echo");
      await server.start();
      await back;
      assert.notEqual(socket.id, first);
      assert.deepEqual(await emitWithAck(socket, "rooms"), [socket.id]);
      assert.deepEqual(await echo, ["sent while away"]);
      close(socket);
    });

    test(`a client finds the server again after a stop (${way})`, async () => {
      const options = { ...transport, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
      const socket = await connected(client(server, options));
      const lost = within(once(socket, "disconnect"), "not disconnected");
      await server.stop();
      await lost;
      const back = within(once(socket, "connect"), "not connected again");
      await server.start();
      await back;
      assert.equal(await emitWithAck(socket, "ack", 1), 1);
      close(socket);
    });
  }
});
