// Who is let in: middlewares, sync and async, what they leave behind, and what a refused client hears.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, close, connect, connected, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { once } from "node:events";
import { within } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

suite("guarded", "middlewares", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("what they do is there when the client is connected, and what they emit comes first", async () => {
        const socket = client(server, { ...transport, auth: { wait: 30 } });
        const [early, welcome] = [listen(socket, "early"), listen(socket, "welcome")];
        socket.connect();
        assert.deepEqual(await welcome.next(), [true, ["from middleware"], 30]);
        assert.deepEqual(await early.next(), [false]);
        close(socket);
      });

      test("a refusal has message and data, leaves no trace, and the connection goes on", async () => {
        const open = await connect(server, { ...transport, namespace: "/open" });
        for (const [auth, message, data] of [
          [{ refuse: { deep: [1, "€"] } }, "refused", { why: { deep: [1, "€"] } }],
          [{ late: true, wait: 5 }, "refused late", undefined],
          [{ panic: true }, "internal server error", undefined],
          [{ panic: true, wait: 5 }, "internal server error", undefined],
        ]) {
          const socket = open.io.socket("/", { auth });
          socket.auth = auth;
          const failed = once(socket, "connect_error");
          socket.connect();
          const [error] = await failed;
          assert.equal(error.message, message);
          assert.deepEqual(error.data, data);
          assert.equal(socket.connected, false);
          await members(open, 0);
        }
        const socket = open.io.socket("/");
        socket.auth = {};
        await connected(socket);
        await members(open, 1);
        close(open);
      });

      test("a client that leaves while it waits leaves nothing behind", async () => {
        const hold = `left by ${way}, ${server.parser}`;
        const socket = client(server, { ...transport, auth: { hold } });
        // What the first middleware emits; the client hands it out when it is connected.
        const early = once(socket.io, "packet");
        socket.connect();
        await within(early, "no middleware has run");
        const open = await connect(server, { ...transport, namespace: "/open" });
        const gone = once(socket.io, "close");
        socket.io.engine.close();
        await gone;
        await members(open, 0);
        await emitWithAck(open, "release", hold);
        // The middleware goes on, if anybody is left for it.
        await new Promise((resolve) => setTimeout(resolve, 50));
        assert.equal(await emitWithAck(open, "members"), 0);
        close(open);
      });
    });
  }
}, { parsers: ["default", "msgpack"] });

/** Until the server sees so many: those of earlier tests leave when it hears of it. */
async function members(open, count) {
  while ((await emitWithAck(open, "members")) !== count) await new Promise((resolve) => setTimeout(resolve, 5));
}
