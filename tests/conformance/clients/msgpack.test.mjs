// The msgpack parser byte by byte, and values that JSON does not know.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { Engine } from "../harness/engine.mjs";
import { decodeMsgpack as decode, encodeMsgpack as encode } from "../harness/parsers.mjs";
import { suite } from "../harness/server.mjs";

const isOurs = Boolean(process.env.RINGIO_SERVER);

suite("clients", "msgpack", (server) => {
  const engine = new Engine(server);

  test("packets are those of the official server, byte for byte", async () => {
    const wire = await engine.openWebsocket();
    const next = async () => (await wire.nextMessage()).toString("hex");
    wire.send(encode({ type: 0, data: { token: 1 }, nsp: "/" }));
    assert.match(await next(), /^83a47479706500a46461746182a3736964b4[0-9a-f]{40}a3706964d40000a36e7370a12f$/);
    wire.send(encode({ type: 0, data: undefined, nsp: "/admin" }));
    assert.match(await next(), /^83a47479706500a46461746182a3736964b4[0-9a-f]{40}a3706964d40000a36e7370a62f61646d696e$/);
    wire.send(encode({ type: 0, nsp: "/nowhere" }));
    assert.equal(await next(), "83a47479706504a36e7370a82f6e6f7768657265a46461746181a76d657373616765b1496e76616c6964206e616d657370616365");

    const values = [1, -1, -33, 255, 65536, 2 ** 40, -(2 ** 40), 1.5, 1e-7, "é😀", "x".repeat(300), true, false, null, [], {}, { a: [Buffer.of(1, 2)] }];
    wire.send(encode({ type: 2, data: ["echo", ...values], options: { compress: true }, nsp: "/" }));
    assert.equal(await next(), encode({ type: 2, data: ["echo", ...values], nsp: "/" }).toString("hex"));
    const long = Array.from({ length: 70_000 }, (_, index) => index % 7);
    wire.send(encode({ type: 2, data: ["ack", long], id: 300, nsp: "/admin" }));
    assert.equal(await next(), encode({ id: 300, type: 3, data: [long], nsp: "/admin" }).toString("hex"));
    wire.send(encode({ type: 2, data: ["all", "news", 1.25], nsp: "/" }));
    assert.equal(await next(), encode({ type: 2, data: ["news", 1.25], nsp: "/" }).toString("hex"));
    wire.send(encode({ type: 2, data: ["askme", "?"], nsp: "/" }));
    const question = await next();
    const { id } = decode(Buffer.from(question, "hex"));
    assert.equal(question, encode({ type: 2, data: ["question", "?"], id, nsp: "/" }).toString("hex"));
    wire.send(encode({ type: 3, id, data: ["!"], nsp: "/" }));
    assert.equal(await next(), encode({ type: 2, data: ["answer", true, "!"], nsp: "/" }).toString("hex"));
    wire.send(encode({ type: 2, data: ["kickme", false], nsp: "/admin" }));
    assert.equal(await next(), encode({ type: 1, nsp: "/admin" }).toString("hex"));
    wire.close();
  });

  // What a handler of ours gets is JSON and attachments: such values come back as `JSON.stringify` makes them.
  const ECHOES = [
    ["undefined", undefined, undefined, null],
    ["a key without value", { a: undefined, b: 1 }, { a: undefined, b: 1 }, { b: 1 }],
    ["a date", new Date(5), new Date(5), "1970-01-01T00:00:00.005Z"],
    ["not a number", NaN, NaN, null],
    ["an infinity", [-Infinity], [-Infinity], [null]],
    ["a number of 2^63", 2 ** 63, 2 ** 63, 2 ** 63],
  ];
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      for (const [what, sent, byNode, byOurs] of ECHOES) {
        test(`${what}, echoed`, async () => {
          const socket = await connect(server, transport);
          assert.deepEqual(await emitWithAck(socket, "ack", sent), isOurs ? byOurs : byNode);
          close(socket);
        });
      }

      test("binary of every JavaScript type arrives as its bytes", async () => {
        const socket = await connect(server, transport);
        const echoes = listen(socket, "echo");
        const bytes = Uint8Array.of(0, 1, 254, 255);
        for (const binary of [Buffer.from(bytes), bytes, bytes.buffer.slice(0)]) {
          socket.emit("echo", { deep: [binary] });
          const [{ deep: [back] }] = await echoes.next();
          assert.deepEqual(Buffer.from(back), Buffer.from(bytes));
        }
        close(socket);
      });

      test("auth of any kind", async () => {
        const auth = { token: "é", list: [1, { a: null }], number: 1.5 };
        const socket = await connect(server, { ...transport, auth });
        assert.deepEqual((await emitWithAck(socket, "whoami")).auth, auth);
        close(socket);
      });
    });
  }

  test("binary in auth is read as numbers", { skip: !isOurs && "Node hands out a Buffer" }, async () => {
    const socket = await connect(server, { ...TRANSPORTS["WebSocket only"], auth: { key: Buffer.of(1, 255), a: 1 } });
    assert.deepEqual((await emitWithAck(socket, "whoami")).auth, { key: [1, 255], a: 1 });
    close(socket);
  });
}, { parsers: ["msgpack"] });
