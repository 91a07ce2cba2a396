// What official JavaScript clients say and hear: values of every kind, binary, acknowledgements both ways.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { within } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const VALUES = [
  [],
  ["text"],
  [""],
  [null, true, false, 0, -1, 1.5, 1e21, 123456789012345],
  [[], {}, [[[]]], { a: { b: { c: [1, { d: null }] } } }],
  ["Grüße, 你好, שלום, 😀👩‍👩‍👧, \u0000\u0001\u001f\u001e, \u2028\u2029, \"\\/"],
  [{ "Schlüssel 😀": "\ud83d\ude00", "": "empty key", "a\"b": 1 }],
  Array.from({ length: 40 }, (_, index) => index),
];

suite("clients", "events", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("values of every kind come back as they were", async () => {
        const socket = await connect(server, transport);
        const echoes = listen(socket, "echo");
        // Whole numbers of more than 64 bits are cut off by the msgpack client.
        const all = server.parser === "msgpack" ? VALUES.map((values) => values.filter((value) => value !== 1e21)) : VALUES;
        for (const values of all) {
          socket.emit("echo", ...values);
          assert.deepEqual(await echoes.next(), values);
        }
        close(socket);
      });

      test("event names may be any text", async () => {
        const socket = await connect(server, transport);
        await emitWithAck(socket, "join", "hall");
        for (const name of ["message", "", "with space", "Ereignis €😀", 'quo"te\\', "2", "__proto__"]) {
          const heard = listen(socket, name);
          socket.emit("room", "hall", name, 1);
          assert.deepEqual(await heard.next(), [1], name);
        }
        close(socket);
      });

      test("900 KB of text come back", async () => {
        const socket = await connect(server, transport);
        // Three quarters of it where a message is binary, which base64 makes larger than a request may be.
        const text = "0123456789abcdef".repeat(server.parser === "default" ? 56_250 : 42_000);
        const echoes = listen(socket, "echo");
        socket.emit("echo", text);
        const [back] = await echoes.next();
        assert.ok(back === text, `${back.length} of ${text.length} characters, or others`);
        close(socket);
      });

      test("binary comes back as binary", async () => {
        const socket = await connect(server, transport);
        const echoes = listen(socket, "bin");
        const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        for (const bytes of [all, Buffer.alloc(1, 255), Buffer.alloc(0), Buffer.alloc(600_000, all)]) {
          socket.emit("bin", bytes);
          const [back] = await echoes.next();
          assert.ok(Buffer.isBuffer(back));
          assert.ok(back.equals(bytes), `${back.length} of ${bytes.length} bytes, or others`);
        }
        close(socket);
      });

      test("buffers deep inside values come back where they were", async () => {
        const socket = await connect(server, transport);
        const echoes = listen(socket, "echo");
        const values = [
          Buffer.from("first"),
          { list: [1, Buffer.from("second"), { deep: Buffer.from("third") }], text: "between" },
          [Buffer.from("fourth"), null, Buffer.alloc(0)],
        ];
        socket.emit("echo", ...values);
        assert.deepEqual(await echoes.next(), values);
        close(socket);
      });

      test("text and binary keep their order", async () => {
        const socket = await connect(server, transport);
        const echoes = listen(socket, "echo");
        const sent = Array.from({ length: 60 }, (_, index) => (index % 3 === 0 ? [index, Buffer.alloc(index, index)] : [index, "text"]));
        for (const values of sent) socket.emit("echo", ...values);
        assert.deepEqual(await echoes.take(sent.length), sent);
        close(socket);
      });

      test("the server acknowledges each event with its own arguments", async () => {
        const socket = await connect(server, transport);
        const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => emitWithAck(socket, "ack", { index })));
        assert.deepEqual(answers, Array.from({ length: 100 }, (_, index) => ({ index })));

        const several = await within(new Promise((resolve) => socket.emit("ack", 1, "two", null, (...args) => resolve(args))), "no ack");
        assert.deepEqual(several, [1, "two", null]);
        const none = await within(new Promise((resolve) => socket.emit("ack", (...args) => resolve(args))), "no ack");
        assert.deepEqual(none, []);
        close(socket);
      });

      test("binary inside an acknowledgement", async () => {
        const socket = await connect(server, transport);
        const value = { name: "image", bytes: Buffer.from([0, 1, 2, 255]) };
        assert.deepEqual(await emitWithAck(socket, "ack", value), value);
        close(socket);
      });

      test("the client acknowledges the server", async () => {
        const socket = await connect(server, transport);
        socket.on("question", (text, bytes, reply) => reply({ text, bytes: Buffer.concat([bytes, bytes]) }));
        const answers = listen(socket, "answer");
        socket.emit("askme", "how are you?", Buffer.from([1, 2]));
        assert.deepEqual(await answers.next(), [true, { text: "how are you?", bytes: Buffer.from([1, 2, 1, 2]) }]);
        close(socket);
      });

      test("an acknowledgement without anything is one", async () => {
        const socket = await connect(server, transport);
        socket.on("question", (...args) => args.at(-1)());
        const answers = listen(socket, "answer");
        for (const args of [[], [1, 2], [Buffer.from([1])]]) {
          socket.emit("askme", ...args);
          assert.equal((await answers.next())[0], true);
        }
        close(socket);
      });

      test("the server stops waiting for an acknowledgement, and takes no late one", async () => {
        const socket = await connect(server, transport);
        const replies = [];
        socket.on("question", (value, reply) => replies.push(() => reply(value)));
        const answers = listen(socket, "answer");
        socket.emit("askme_within", 300, "never answered in time");
        assert.deepEqual(await answers.next(), [false, null]);
        replies[0]();
        // A later question gets its own answer, not the late one.
        socket.removeAllListeners("question").on("question", (value, reply) => reply(value));
        socket.emit("askme", "second");
        assert.deepEqual(await answers.next(), [true, "second"]);
        assert.equal(answers.size, 0);
        close(socket);
      });

      test("the client stops waiting for an acknowledgement, and the late one does no harm", async () => {
        const socket = await connect(server, transport);
        const late = `late ${socket.id}`;
        await assert.rejects(socket.timeout(50).emitWithAck("hold", late), /timed out/);
        await emitWithAck(socket, "release", late);
        assert.equal(await emitWithAck(socket, "slow", 20, "next"), "next");
        close(socket);
      });

      test("an async handler keeps nobody waiting", async () => {
        const socket = await connect(server, transport);
        const name = `slow ${socket.id}`;
        const slow = emitWithAck(socket, "hold", name);
        for (let round = 0; round < 5; round += 1) await emitWithAck(socket, "ack", round);
        await emitWithAck(socket, "release", name);
        assert.equal(await slow, name);
        close(socket);
      });

      test("events nobody handles are ignored", async () => {
        const socket = await connect(server, transport);
        socket.emit("no such event", 1);
        socket.emit("no such event with an ack", Buffer.from([1]), () => assert.fail("acknowledged"));
        assert.equal(await emitWithAck(socket, "ack", 1), 1);
        close(socket);
      });

      test("a handler that panics costs its one event only", async () => {
        const [socket, neighbour] = [await connect(server, transport), await connect(server, transport)];
        socket.emit("panic");
        assert.equal(await emitWithAck(socket, "ack", "alive"), "alive");
        assert.equal(await emitWithAck(neighbour, "ack", "alive"), "alive");
        close(socket, neighbour);
      });
    });
  }

  test("reserved names never leave the client", async () => {
    const socket = await connect(server, TRANSPORTS["WebSocket only"]);
    for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
      assert.throws(() => socket.emit(name), /reserved/);
    }
    close(socket);
  });
}, { parsers: ["default", "msgpack", "cbor"] });
