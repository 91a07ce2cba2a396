// How official JavaScript clients come in: each transport, several namespaces, auth and query, refusals.

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { describe, test } from "node:test";
import { client, close, connect, connected, emitWithAck, listen, TRANSPORTS, upgraded } from "../harness/client.mjs";
import { cannotRun, suite } from "../harness/server.mjs";

suite("clients", "connecting", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("both sides know the same id and transport", async () => {
        const socket = await connect(server, transport);
        const seen = await emitWithAck(socket, "whoami");
        assert.equal(seen.id, socket.id);
        assert.match(seen.id, /^[\w-]{20}$/);
        assert.notEqual(seen.id, socket.io.engine.id);
        assert.equal(seen.transport, way === "polling only" ? "polling" : "websocket");
        assert.equal(socket.io.engine.transport.name, seen.transport);
        close(socket);
      });

      test("auth and query reach the handshake, strange characters included", async () => {
        const auth = { token: "Ünïcødé €😀", nested: { list: [1, null, true] } };
        const query = { plain: "1", strange: "a b&c=d+e%/é" };
        const socket = await connect(server, { ...transport, auth, query });
        const seen = await emitWithAck(socket, "whoami");
        assert.deepEqual(seen.auth, auth);
        assert.equal(seen.query.plain, query.plain);
        assert.equal(seen.query.strange, query.strange);
        assert.equal(seen.query.EIO, "4");
        close(socket);
      });

      test("several namespaces share one connection and nothing else", async () => {
        const main = await connect(server, { ...transport, auth: { who: "main" } });
        const admin = main.io.socket("/admin", { auth: { who: "admin" } });
        await connected(admin);
        assert.notEqual(admin.id, main.id);
        assert.equal(admin.io.engine, main.io.engine);
        assert.deepEqual((await emitWithAck(main, "whoami")).auth, { who: "main" });
        assert.deepEqual((await emitWithAck(admin, "whoami")).auth, { who: "admin" });

        // The same room name in two namespaces is two rooms.
        await emitWithAck(main, "join", "hall");
        await emitWithAck(admin, "join", "hall");
        const [atMain, atAdmin] = [listen(main, "news"), listen(admin, "news")];
        admin.emit("room", "hall", "news", "for admins");
        assert.deepEqual(await atAdmin.next(), ["for admins"]);
        await emitWithAck(main, "ack");
        assert.equal(atMain.size, 0);

        // Leaving one leaves the other.
        admin.disconnect();
        assert.deepEqual(await emitWithAck(main, "ack", "still here"), "still here");
        close(main);
      });

      test("what goes to everybody stays in its namespace, and so does who is found", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        const [atMain, atAdmin] = [main, admin].map((socket) => listen(socket, "news"));
        for (const [sender, own, other] of [[main, atMain, atAdmin], [admin, atAdmin, atMain]]) {
          for (const value of ["text", Buffer.from([1, 2, 3])]) {
            sender.emit("broadcast", "news", "not for the sender");
            sender.emit("all", "news", value);
            assert.deepEqual(await own.next(), [value]);
          }
          for (const socket of [main, admin]) await emitWithAck(socket, "ack");
          assert.deepEqual([own.size, other.size], [0, 0]);
        }
        await emitWithAck(main, "join", "found");
        await emitWithAck(admin, "join", "found");
        assert.deepEqual(await emitWithAck(main, "peers", "found"), [main.id]);
        assert.deepEqual(await emitWithAck(admin, "peers", "found"), [admin.id]);
        assert.deepEqual(await emitWithAck(main, "peers", admin.id), []);
        close(main);
      });

      test("a namespace that does not exist is refused, and the connection stays", async () => {
        const main = await connect(server, transport);
        const refused = main.io.socket("/refused");
        await assert.rejects(connected(refused), { message: "Invalid namespace" });
        assert.equal(refused.connected, false);
        assert.equal(await emitWithAck(main, "ack", 1), 1);
        close(main);
      });

      test("a namespace can be left and joined again on the same connection", async () => {
        const main = await connect(server, transport);
        const admin = main.io.socket("/admin");
        await connected(admin);
        const before = admin.id;
        admin.disconnect();
        // To Node a CONNECT in the same packet as the DISCONNECT is one too many: the leave has to be over.
        await emitWithAck(main, "ack");
        await connected(admin);
        assert.notEqual(admin.id, before);
        assert.deepEqual(await emitWithAck(admin, "rooms"), [admin.id]);
        close(main);
      });

      test("events emitted before the connection arrive after it, in order", async () => {
        const socket = client(server, transport);
        const echoes = listen(socket, "echo");
        for (let number = 0; number < 20; number += 1) socket.emit("echo", number);
        await connected(socket);
        assert.deepEqual(await echoes.take(20), Array.from({ length: 20 }, (_, number) => [number]));
        close(socket);
      });
    });
  }

  test("many clients connect at once, each with its own id", async () => {
    const ways = Object.values(TRANSPORTS);
    const sockets = await Promise.all(Array.from({ length: 60 }, (_, index) => connect(server, ways[index % 3])));
    const seen = await Promise.all(sockets.map((socket) => emitWithAck(socket, "whoami")));
    assert.deepEqual(seen.map(({ id }) => id), sockets.map(({ id }) => id));
    assert.equal(new Set(sockets.map(({ id }) => id)).size, sockets.length);
    assert.equal(new Set(sockets.map(({ io }) => io.engine.id)).size, sockets.length);
    close(...sockets);
  });

  test("five hundred clients come one after the other, and every one of them upgrades", async () => {
    for (let number = 0; number < 500; number += 1) {
      const socket = await connect(server, TRANSPORTS.upgrade);
      assert.equal(await emitWithAck(socket, "ack", number), number);
      close(socket);
    }
  });

  const hasIpv6 = Object.values(networkInterfaces()).flat().some(({ address }) => address === "::1");
  test("the server answers on IPv6 too", { skip: !hasIpv6 && cannotRun("this machine has no IPv6 loopback") }, async () => {
    const socket = await connect({ url: `http://[::1]:${server.port}` }, TRANSPORTS.upgrade);
    assert.equal(await emitWithAck(socket, "ack", 6), 6);
    await upgraded(socket);
    close(socket);
  });
});
