// What a server sends in one go: which of it may be dropped, and whom lists of rooms reach.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, crowd, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { suite } from "../harness/server.mjs";

const BYTES = Buffer.from([1, 2, 3]);
const step = (argument, { to = "me", volatile = false } = {}) => ({ to, volatile, event: "said", argument });
const dropped = { volatile: true };

suite("emits", "emits", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    const isPolling = way === "polling only";
    describe(way, () => {
      /** What arrived of these steps: the last one is sent in any case, and nothing overtakes. */
      async function heard(steps, ...bytes) {
        const socket = await connect(server, transport);
        const said = listen(socket, "said");
        await emitWithAck(socket, "script", [...steps, step("last")], ...bytes);
        const arguments_ = [];
        do arguments_.push(await said.next());
        while (arguments_.at(-1)[0] !== "last");
        close(socket);
        assert.ok(arguments_.every(([, ...rest]) => rest.length === bytes.length && rest.every((part) => part.equals(BYTES))));
        return arguments_.map(([argument]) => argument);
      }

      test("a volatile event behind a regular one is dropped", async () => {
        assert.deepEqual(await heard([step(1), step(2, dropped)]), [1, "last"]);
        assert.deepEqual(await heard([step(1), step(2, dropped)], BYTES), [1, "last"]);
      });

      test("a regular event behind a dropped one arrives", async () => {
        assert.deepEqual(await heard([step(1), step(2, dropped), step(3), step(4, dropped), step(5)]), [1, 3, 5, "last"]);
      });

      test("of two volatile events in a row only the first arrives, whole", async () => {
        for (const bytes of [[], [BYTES], [BYTES, BYTES]]) {
          const arrived = await heard([step(1, dropped), step(2, dropped)], ...bytes);
          // A client that polls may have no request waiting: then the first is dropped as well.
          if (!isPolling || arrived.length > 1) assert.deepEqual(arrived, [1, "last"]);
        }
      });

      test("of two volatile broadcasts in a row only the first arrives, whole", async () => {
        const all = { to: "all", volatile: true };
        const arrived = await heard([step(1, all), step(2, all)], BYTES);
        if (!isPolling || arrived.length > 1) assert.deepEqual(arrived, [1, "last"]);
      });

      test("a volatile broadcast behind a regular one is dropped", async () => {
        const all = { to: "all" };
        assert.deepEqual(await heard([step(1, all), step(2, { ...all, volatile: true })]), [1, "last"]);
        assert.deepEqual(await heard([step(1, all), step(2, { ...all, volatile: true })], BYTES), [1, "last"]);
      });

      test("a volatile event arrives at a client that can take it", async () => {
        const socket = await connect(server, transport);
        const said = listen(socket, "said");
        // Over polling a request has to wait at that moment, which it does sooner or later.
        for (let attempt = 0; said.size === 0; attempt += 1) {
          assert.ok(attempt < 1000, "none of 1000 arrived");
          await emitWithAck(socket, "script", [step(1, dropped)]);
        }
        assert.deepEqual(await said.next(), [1]);
        close(socket);
      });

      test("several rooms are joined and left at once", async () => {
        const socket = await connect(server, transport);
        await emitWithAck(socket, "join", "a", "b", "c");
        assert.deepEqual(await emitWithAck(socket, "rooms"), [socket.id, "a", "b", "c"].sort());
        await emitWithAck(socket, "leave", "a", "c", "never joined");
        assert.deepEqual(await emitWithAck(socket, "rooms"), [socket.id, "b"].sort());
        close(socket);
      });

      test("messages are events of that name, both ways", async () => {
        const socket = await connect(server, transport);
        const messages = listen(socket, "message");
        socket.send("text", { a: 1 }, BYTES);
        assert.deepEqual(await messages.next(), ["text", { a: 1 }, BYTES]);
        close(socket);
      });
    });
  }

  test("lists of rooms, and of sockets and rooms left out", async () => {
    const sockets = await crowd(server, 6);
    const [a, b, c, ab, bc, none] = sockets;
    const rooms = [["a"], ["b"], ["c"], ["a", "b"], ["b", "c"], []];
    await Promise.all(sockets.map((socket, index) => emitWithAck(socket, "join", ...rooms[index])));
    const inboxes = sockets.map((socket) => listen(socket, "told"));

    none.emit("to", ["a", "b"], []);
    for (const index of [0, 1, 3, 4]) assert.deepEqual(await inboxes[index].next(), [["a", "b"]]);
    none.emit("to", ["a", "b", "nobody's"], ["c", ab.id]);
    for (const index of [0, 1]) assert.deepEqual(await inboxes[index].next(), [["a", "b", "nobody's"]]);
    none.emit("to", [], ["a", "b", "c"]);
    assert.deepEqual(await inboxes[5].next(), [[]]);
    none.emit("to", ["nobody's"], []);
    none.emit("to", [], []);
    for (const inbox of inboxes) assert.deepEqual(await inbox.next(), [[]]);
    assert.ok(inboxes.every(({ size }) => size === 0));
    close(a, b, c, ab, bc, none);
  });

  test("a volatile broadcast reaches everybody who can take it, on every shard", async () => {
    const sockets = await crowd(server, 8, TRANSPORTS["WebSocket only"]);
    const inboxes = sockets.map((socket) => listen(socket, "said"));
    await emitWithAck(sockets[0], "script", [step(1, { to: "others", volatile: true })]);
    for (const inbox of inboxes.slice(1)) assert.deepEqual(await inbox.next(), [1]);
    assert.equal(inboxes[0].size, 0);
    close(...sockets);
  });
});

suite("oracle", "a sender and those it leaves out", (server) => {
  test("a socket's broadcast without a room and without an id reaches the others, and not the sender", async () => {
    const sockets = await crowd(server, 8);
    const [sender, byId, ...rest] = sockets;
    const [inRoom, ...hearers] = rest;
    for (const socket of sockets) await emitWithAck(socket, "join", "hall");
    for (const socket of [sender, inRoom]) await emitWithAck(socket, "join", "deaf");
    const inboxes = new Map(sockets.map((socket) => [socket, listen(socket, "told")]));
    const tell = (without, value) => sender.emit("mixed", "hall", "nobody's", ...without, "told", value);
    tell(["deaf", byId.id], "without both");
    tell(["nobody's", byId.id], "without the id");
    tell(["deaf", "nobody's"], "without the room");
    sender.emit("all", "told", "end");
    const expected = (socket) => [
      ...(hearers.includes(socket) ? ["without both"] : []),
      ...(hearers.includes(socket) || socket === inRoom ? ["without the id"] : []),
      ...(hearers.includes(socket) || socket === byId ? ["without the room"] : []),
      "end",
    ];
    for (const [socket, inbox] of inboxes) {
      const all = expected(socket);
      assert.deepEqual(await inbox.take(all.length), all.map((value) => [value]));
    }
    assert.ok([...inboxes.values()].every(({ size }) => size === 0));
    close(...sockets);
  });
});
