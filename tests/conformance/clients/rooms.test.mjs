// Who hears what, when the members of a room live on every shard.
//
// 24 clients, WebSocket and polling by turns, spread over the shards by the kernel. Silence is proved by `settle`: each
// client asks something after the broadcast, and what was sent to it before is there when the answer is.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { close, connect, crowd, emitWithAck, listen, settle, TRANSPORTS } from "../harness/client.mjs";
import { eventually, inTime } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const COUNT = 24;

suite("clients", "rooms", (server) => {
  for (const namespace of ["/", "/admin"]) {
    describe(`in ${namespace}`, () => {
      let sockets;
      let room = "";
      let rooms = 0;

      before(async () => {
        sockets = await crowd(server, COUNT, { namespace });
      });
      after(() => close(...sockets));

      const idsOf = (indices) => indices.map((index) => sockets[index].id).sort();
      const range = (from, to) => Array.from({ length: to - from }, (_, offset) => from + offset);

      /** A room name of this test's own, joined by these clients. */
      async function roomOf(indices) {
        room = `room ${(rooms += 1)} €`;
        await Promise.all(indices.map((index) => emitWithAck(sockets[index], "join", room)));
        return room;
      }

      /** Runs `act` and tells which clients heard `event` how often. */
      async function heard(event, act) {
        const counts = sockets.map(() => 0);
        const counters = sockets.map((_, index) => () => (counts[index] += 1));
        sockets.forEach((socket, index) => socket.on(event, counters[index]));
        await act();
        // Twice: what the sender's shard passes on while the others answer the first question has a second one to beat.
        await eventually(
          async () => {
            await settle(sockets);
            const first = counts.join();
            await settle(sockets);
            return first === counts.join() && counts.some((count) => count > 0);
          },
          Boolean,
          `nobody heard "${event}"`,
        );
        sockets.forEach((socket, index) => socket.off(event, counters[index]));
        return counts;
      }

      function assertHeard(counts, indices) {
        const expected = sockets.map((_, index) => (indices.includes(index) ? 1 : 0));
        assert.deepEqual(counts, expected);
      }

      test("to everybody, the sender included, each once", async () => {
        assertHeard(await heard("all", () => sockets[0].emit("all", "all", 1)), range(0, COUNT));
      });

      test("broadcast: to everybody but the sender", async () => {
        assertHeard(await heard("broadcast", () => sockets[1].emit("broadcast", "broadcast", 1)), range(0, COUNT).filter((index) => index !== 1));
      });

      test("to a room: its members and nobody else, the sender if it is one", async () => {
        const hall = await roomOf(range(0, 10));
        assertHeard(await heard("inside", () => sockets[3].emit("room", hall, "inside")), range(0, 10));
        assertHeard(await heard("outside", () => sockets[20].emit("room", hall, "outside")), range(0, 10));
      });

      test("acknowledgements of a room, on all shards, come together; that one is silent is told", async () => {
        const hall = await roomOf(range(0, 8));
        const answers = (index) => (value, reply) => reply(value + index);
        range(0, 8).forEach((index) => sockets[index].on("question", answers(index)));
        const surveys = listen(sockets[9], "surveyed");
        sockets[9].emit("survey", hall, 100);
        const [isComplete, all] = await surveys.next();
        assert.deepEqual([isComplete, all.sort()], [true, range(100, 108)]);
        // Nobody in the room: answered with nothing.
        sockets[9].emit("survey", "no such room", 1);
        assert.deepEqual(await surveys.next(), [true, []]);
        sockets[5].off("question");
        const others = range(200, 208).filter((value) => value !== 205);
        const some = await inTime(async (number) => {
          sockets[9].emit("survey_within", 1_500 * (number + 1), hall, 200);
          const [isWhole, some] = await surveys.next();
          assert.ok(!isWhole && some.every((value) => others.includes(value)));
          return some.length === others.length ? some : undefined;
        }, "not all of the others have answered");
        assert.deepEqual(some.sort(), others);
        range(0, 8).forEach((index) => sockets[index].off("question"));
      });

      test("to a room without the sender", async () => {
        const hall = await roomOf(range(4, 16));
        assertHeard(await heard("others", () => sockets[5].emit("others", hall, "others")), [4, ...range(6, 16)]);
      });

      test("to two rooms: who is in both hears it once", async () => {
        const [first, second] = [await roomOf(range(0, 12)), await roomOf(range(6, 18))];
        assertHeard(await heard("both", () => sockets[0].emit("two_rooms", first, second, "both")), range(0, 18));
      });

      test("to a room except another", async () => {
        const [hall, quiet] = [await roomOf(range(0, 18)), await roomOf(range(6, 24))];
        assertHeard(await heard("except", () => sockets[0].emit("except", hall, quiet, "except")), range(0, 6));
      });

      test("a socket is a room of its own", async () => {
        assertHeard(await heard("private", () => sockets[0].emit("room", sockets[17].id, "private")), [17]);
        assertHeard(await heard("spared", () => sockets[0].emit("except", sockets[17].id, sockets[16].id, "spared")), [17]);
      });

      test("values and binary arrive whole at every member", async () => {
        const hall = await roomOf(range(0, COUNT));
        const inboxes = sockets.map((socket) => listen(socket, "payload"));
        const value = { text: "é€😀", bytes: Buffer.alloc(5000, 7), list: [Buffer.from("x"), null] };
        sockets[2].emit("room", hall, "payload", value, 2);
        for (const inbox of inboxes) assert.deepEqual(await inbox.next(), [value, 2]);
        for (const socket of sockets) socket.removeAllListeners("payload");
      });

      test("binary reaches everybody, everybody else, and a room without its sender", async () => {
        const hall = await roomOf(range(0, 6));
        const bytes = Buffer.from([0, 1, 255]);
        const wrong = [];
        sockets.forEach((socket) => ["to all", "to the rest", "to others"].forEach((event) => socket.on(event, (value) => bytes.equals(value) || wrong.push(value))));
        assertHeard(await heard("to all", () => sockets[2].emit("all", "to all", bytes)), range(0, COUNT));
        assertHeard(await heard("to the rest", () => sockets[2].emit("broadcast", "to the rest", bytes)), range(0, COUNT).filter((index) => index !== 2));
        assertHeard(await heard("to others", () => sockets[2].emit("others", hall, "to others", bytes)), [0, 1, 3, 4, 5]);
        assert.deepEqual(wrong, []);
      });

      test("joining twice is joining once; leaving leaves", async () => {
        const hall = await roomOf([0, 1, 2, 0]);
        assert.deepEqual(await emitWithAck(sockets[0], "rooms"), [sockets[0].id, ...(await ownRooms(0))].sort());
        assertHeard(await heard("joined", () => sockets[1].emit("room", hall, "joined")), [0, 1, 2]);
        await emitWithAck(sockets[0], "leave", hall);
        assert.ok(!(await emitWithAck(sockets[0], "rooms")).includes(hall));
        assertHeard(await heard("left", () => sockets[1].emit("room", hall, "left")), [1, 2]);
        await emitWithAck(sockets[0], "leave", "never joined");
      });

      async function ownRooms(index) {
        return (await emitWithAck(sockets[index], "rooms")).filter((name) => name !== sockets[index].id);
      }

      test("count and peers see every shard, from every shard", async () => {
        const hall = await roomOf(range(3, 9));
        for (const socket of sockets) {
          assert.equal(await emitWithAck(socket, "count"), COUNT);
          assert.deepEqual(await emitWithAck(socket, "peers", hall), idsOf(range(3, 9)));
        }
        assert.deepEqual(await emitWithAck(sockets[0], "peers", "nobody's"), []);
        assert.deepEqual(await emitWithAck(sockets[0], "peers", sockets[9].id), [sockets[9].id]);
      });

      test("sockets_join and sockets_leave move the members of a room", async () => {
        const hall = await roomOf(range(0, 8));
        await emitWithAck(sockets[23], "sockets_join", hall, "second hall");
        await peersBecome("second hall", range(0, 8));
        assertHeard(await heard("moved", () => sockets[23].emit("room", "second hall", "moved")), range(0, 8));
        await emitWithAck(sockets[0], "leave", hall);
        await emitWithAck(sockets[23], "sockets_leave", hall, "second hall");
        await peersBecome("second hall", [0]);
        await emitWithAck(sockets[0], "leave", "second hall");
        await peersBecome("second hall", []);
      });

      async function peersBecome(name, indices) {
        const expected = idsOf(indices).join();
        await eventually(() => emitWithAck(sockets[12], "peers", name), (ids) => ids.join() === expected, `members of ${name}`);
      }

      test("who disconnects is in no room any more", async () => {
        const leaver = await connect(server, { namespace, ...TRANSPORTS["WebSocket only"] });
        await emitWithAck(leaver, "join", "doomed");
        const { id } = leaver;
        assert.deepEqual(await emitWithAck(sockets[0], "peers", "doomed"), [id]);
        close(leaver);
        await eventually(() => emitWithAck(sockets[0], "peers", "doomed"), (ids) => ids.length === 0, "still there");
        await eventually(() => emitWithAck(sockets[0], "count"), (count) => count === COUNT, "still counted");
      });

      test("broadcasts of many senders reach everybody once, in order per sender", async () => {
        const each = 25;
        const inboxes = sockets.map((socket) => listen(socket, "numbered"));
        for (let number = 0; number < each; number += 1) {
          sockets.forEach((socket, sender) => socket.emit("all", "numbered", sender, number));
        }
        for (const inbox of inboxes) {
          const next = sockets.map(() => 0);
          for (const [sender, number] of await inbox.take(each * COUNT)) {
            assert.equal(number, next[sender], `sender ${sender}`);
            next[sender] += 1;
          }
        }
        await settle(sockets);
        for (const inbox of inboxes) assert.equal(inbox.size, 0);
        for (const socket of sockets) socket.removeAllListeners("numbered");
      });
    });
  }
}, { parsers: ["default", "msgpack"] });
