// Middlewares for the events of a socket: what passes, what is refused, and that nobody waits for a slow one.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { suite } from "../harness/server.mjs";

suite("packets", "middlewares for events", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("what they let pass reaches its handlers, with its acknowledgement and its bytes", async () => {
        const socket = await connect(server, transport);
        const echo = listen(socket, "echo");
        assert.deepEqual(await emitWithAck(socket, "echo", "a", { b: [1] }), "a");
        assert.deepEqual(await echo.next(), ["a", { b: [1] }]);
        socket.emit("slow", Buffer.from([1, 2, 3]));
        const slow = listen(socket, "slow");
        assert.deepEqual((await slow.next()).map((data) => [...data]), [[1, 2, 3]]);
        close(socket);
      });

      test("a refused event reaches `error` and no handler, and is not acknowledged", async () => {
        const socket = await connect(server, transport);
        const [refused, blocked, panicked, slow] = ["refused", "blocked", "panic", "slow"].map((name) => listen(socket, name));
        const acks = [];
        socket.emit("blocked", "way", () => acks.push("blocked"));
        socket.emit("panic", () => acks.push("panic"));
        socket.emit("slow", 1, true, () => acks.push("slow"));
        assert.deepEqual([await refused.next(), await refused.next(), await refused.next()], [["no way"], ["internal server error"], ["too late"]]);
        await emitWithAck(socket, "echo", 0);
        assert.deepEqual([blocked.size, panicked.size, slow.size, acks], [0, 0, 0, []]);
        close(socket);
      });

      test("they may put another event in its place, for those behind them, bytes and acknowledgement included", async () => {
        const socket = await connect(server, transport);
        const [wrapped, wrap, unwrapped] = ["wrapped", "wrap", "unwrapped"].map((name) => listen(socket, name));
        assert.equal(await emitWithAck(socket, "wrapped", 1, Buffer.from([7, 8])), "wrap");
        const [inner, outer, number, bytes] = await unwrapped.next();
        assert.deepEqual([inner, outer, number, [...bytes]], ["wrap", "wrapped", 1, [7, 8]]);
        assert.deepEqual([wrapped.size, wrap.size], [0, 0]);
        close(socket);
      });

      test("on_any sees an event before they refuse it", async () => {
        const socket = await connect(server, transport);
        const refused = listen(socket, "refused");
        const name = `one ${way}`;
        socket.emit("blocked", name);
        await refused.next();
        const seen = await emitWithAck(socket, "seen");
        const at = seen.findIndex(([kind, text]) => kind === "error" && text === `no ${name}`);
        assert.deepEqual(seen[at - 1], ["any", "blocked"]);
        close(socket);
      });

      test("a slow one holds back its own event only", async () => {
        const socket = await connect(server, transport);
        const order = [];
        for (const name of ["held", "echo"]) socket.on(name, () => order.push(name));
        const [held, echo] = ["held", "echo"].map((name) => listen(socket, name));
        socket.emit("held", socket.id);
        socket.emit("echo", 2);
        await echo.next();
        await emitWithAck(socket, "release", socket.id);
        await held.next();
        assert.deepEqual(order, ["echo", "held"]);
        close(socket);
      });
    });
  }
});
