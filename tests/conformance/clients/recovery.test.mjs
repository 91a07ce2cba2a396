// Clients that were cut off and come back, on whichever shard: id, rooms, data, and each missed event once, in order.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, close, connect, connected, crowd, emitWithAck, listen } from "../harness/client.mjs";
import { eventually, Inbox } from "../harness/inbox.mjs";
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

      // Every shard broadcasts all the time, so that the shards log in different orders; the client is cut off in the midst of it.
      test("who comes back again and again hears everybody, each event once", async () => {
        const socket = client(server, transport);
        const heard = new Map();
        socket.on("told", (teller, number) => heard.get(teller).push(number));
        const tellers = await crowd(server, 6);
        for (const teller of tellers) heard.set(teller.id, []);
        await connected(socket);
        await emitWithAck(socket, "join", "room");
        let number = 0;
        const tell = () => {
          for (const teller of tellers) teller.emit("room", "room", "told", teller.id, number);
          number += 1;
        };
        tell();
        for (const numbers of heard.values()) await eventually(async () => numbers.length, (count) => count === 1, "nothing is told");
        for (let round = 0; round < 20; round += 1) {
          // Not without end: who has missed more than half an outbox does not come back.
          const enough = number + 200;
          const telling = setInterval(() => number < enough && tell(), 1);
          await new Promise((resolve) => setTimeout(resolve, 5));
          const { id } = socket;
          socket.io.engine.close();
          await absent(tellers[0], id);
          clearInterval(telling);
          tell();
          await connected(socket);
          assert.equal(socket.recovered, true, `round ${round}`);
        }
        const all = Array.from({ length: number }, (_, index) => index);
        for (const numbers of heard.values()) {
          await eventually(async () => numbers.length, (count) => count >= number, "not all of it has come");
          assert.deepEqual(numbers, all);
        }
        close(socket, ...tellers);
      });

      // No other shard has heard of an event for one socket: only its first return tells another shard of the client's offset.
      test("who saw last what was for it alone comes back twice, wherever to", async () => {
        const other = await connect(server, transport);
        const socket = client(server, transport);
        const messages = inbox(socket, "message");
        await connected(socket);
        const { id } = socket;
        for (let round = 0; round < 8; round += 1) {
          socket.emit("seen by any");
          assert.equal((await messages.next())[0], "seen by any");
          for (const time of ["first", "second"]) {
            socket.io.engine.close();
            await absent(other, id);
            await connected(socket);
            assert.equal(socket.recovered, true, `round ${round}, ${time} return`);
          }
        }
        await emitWithAck(socket, "state");
        assert.equal(messages.size, 0, "nothing comes a second time");
        close(socket, other);
      });

      test("what was missed may have been for everybody, for a room or for it alone, binary too", async () => {
        const other = await connect(server, transport);
        const socket = client(server, transport);
        const [news, poked] = [inbox(socket, "news"), inbox(socket, "poked")];
        await connected(socket);
        await emitWithAck(socket, "join", "hall");
        const { id } = socket;
        // What comes before the connection ends gives the client its first offset.
        other.emit("all", "news", 0);
        assert.equal((await news.next())[0], 0);
        for (let round = 1; round <= 3; round += 1) {
          socket.io.engine.close();
          await absent(other, id);
          other.emit("all", "news", round);
          other.emit("room", "hall", "news", Buffer.from([round]));
          other.emit("room", id, "poked", `alone ${round}`);
          other.emit("broadcast", "news", { round });
          await emitWithAck(other, "state");
          await connected(socket);
          assert.deepEqual([socket.recovered, socket.id], [true, id]);
          const told = (await news.take(3)).map(([value]) => value);
          assert.deepEqual(told, [round, Buffer.from([round]), { round }]);
          assert.equal((await poked.next())[0], `alone ${round}`);
        }
        await emitWithAck(socket, "state");
        assert.deepEqual([news.size, poked.size], [0, 0]);
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
