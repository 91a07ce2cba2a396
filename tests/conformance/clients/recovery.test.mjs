// Clients that were cut off and come back, on whichever shard: id, rooms, data, and each missed event once, in order.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, close, connect, connected, emitWithAck, listen } from "../harness/client.mjs";
import { Inbox } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const WAYS = { "polling only": { transports: ["polling"] }, "WebSocket only": { transports: ["websocket"] } };

suite("recovery", "connection state recovery", (server) => {
  for (const [way, transport] of Object.entries(WAYS)) {
    describe(way, () => {
      // Several rounds, so that with several shards the client comes back to others than its first.
      test("what was missed arrives once and in order, and everything is as before", async () => {
        const other = await connect(server, transport);
        const socket = client(server, transport);
        const [missed, poked] = [inbox(socket, "missed"), inbox(socket, "poked")];
        const welcome = inbox(socket, "welcome");
        socket.connect();
        await welcome.next();
        const { id } = socket;
        await emitWithAck(socket, "join", "room");
        await emitWithAck(socket, "set", "name", { "of": ["a", 1] });
        assert.deepEqual((await emitWithAck(socket, "state")).recovered, false);
        let number = 0;
        for (let round = 0; round < 6; round += 1) {
          other.emit("room", "room", "missed", (number += 1));
          assert.equal((await missed.next())[0], number);
          const gone = new Promise((resolve) => socket.once("disconnect", resolve));
          socket.io.engine.close();
          await gone;
          await absent(other, id);
          for (let i = 0; i < 3; i += 1) other.emit("room", "room", "missed", number + 1 + i);
          other.emit("room", "another room", "missed", "not for us");
          await emitWithAck(other, "state");
          await connected(socket);
          assert.equal(socket.recovered, true, `round ${round}`);
          assert.equal(socket.id, id);
          for (let i = 0; i < 3; i += 1) assert.equal((await missed.next())[0], (number += 1));
          const state = await emitWithAck(socket, "state");
          assert.equal(state.recovered, true);
          assert.equal(state.guarded, false, "the middleware is skipped");
          assert.deepEqual(state.rooms, [id, "room"].sort());
          assert.deepEqual(state.data, { name: { of: ["a", 1] } });
          other.emit("poke", id, `round ${round}`);
          assert.equal((await poked.next())[0], `round ${round}`);
        }
        assert.equal(missed.size, 0);
        assert.equal(welcome.size, 0, "greeted once only");
        close(socket, other);
      });

      test("an unknown pid is a new client", async () => {
        const socket = client(server, { ...transport, auth: { pid: "AAAAAAAAAAAAAAAAAAAA", offset: "nonsense" } });
        await connected(socket);
        const state = await emitWithAck(socket, "state");
        assert.deepEqual([state.recovered, state.guarded, state.rooms], [false, true, [socket.id]]);
        close(socket);
      });

      test("who leaves on purpose does not come back", async () => {
        const socket = client(server, transport);
        const welcome = listen(socket, "welcome");
        socket.connect();
        await welcome.next();
        const { id } = socket;
        socket.disconnect();
        await connected(socket);
        assert.notEqual(socket.id, id);
        assert.equal(socket.recovered, false);
        close(socket);
      });

      test("a handler of every event hears them all", async () => {
        const socket = await connect(server, transport);
        const heard = listen(socket, "message");
        socket.emit("not this");
        socket.emit("seen by any");
        assert.equal((await heard.next())[0], "seen by any");
        assert.equal(heard.size, 0);
        close(socket);
      });
    });
  }
}, { parsers: ["default", "msgpack"] });

/** What arrives, over disconnections. */
function inbox(socket, event) {
  const inbox = new Inbox();
  socket.on(event, (...args) => inbox.push(args));
  return inbox;
}

/** Until the server has noticed that the client is gone. */
async function absent(other, id) {
  while ((await emitWithAck(other, "peers", id)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}
