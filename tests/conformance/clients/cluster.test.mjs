// Three servers that act as one: the official client on each, and what reaches whom.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { close, connect, emitWithAck, listen } from "../harness/client.mjs";
import { eventually, inTime } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const BYTES = Buffer.from([0, 255, 7]);

suite("cluster", "cluster", (server) => {
  let urls;
  before(async () => {
    const socket = await connect(server);
    urls = (await emitWithAck(socket, "ports")).map((port) => ({ url: `http://127.0.0.1:${port}` }));
    close(socket);
  });

  /** `count` clients on each server, and nobody else: [server][client]. */
  async function clients(count = 1, options = {}) {
    const of = (url) => Promise.all(Array.from({ length: count }, () => connect(url, options)));
    const sockets = await Promise.all(urls.map(of));
    // Those of earlier tests go when their servers hear of it.
    await eventually(() => everybody(sockets[0][0]), (found) => found.length === count * urls.length, "somebody else is there");
    return sockets;
  }

  const everybody = (socket) => emitWithAck(socket, "fetch", []);

  /** Waits until every server has handled what came before this: messages of one sender stay in order. */
  async function settle(sockets) {
    const flat = sockets.flat();
    const inboxes = flat.map((socket) => listen(socket, "settled"));
    for (const [first] of sockets) first.emit("all", "settled");
    for (const inbox of inboxes) for (const _ of sockets) await inbox.next();
    for (const socket of flat) socket.off("settled");
  }

  test("they count each other", async () => {
    const sockets = await clients();
    for (const [number, [socket]] of sockets.entries()) {
      assert.equal(await emitWithAck(socket, "number"), number);
      assert.equal(await emitWithAck(socket, "server count"), 3);
    }
    close(...sockets.flat());
  });

  test("a broadcast reaches the clients of all, in order; a local one those of its own", async () => {
    const sockets = await clients(3);
    const inboxes = sockets.map((some) => some.map((socket) => ({ news: listen(socket, "news"), near: listen(socket, "near") })));
    for (let index = 0; index < 20; index += 1) {
      sockets[1][0].emit("all", "news", index, { a: [null] });
      sockets[1][0].emit("local", "near", index);
    }
    sockets[1][0].emit("all", "news", BYTES);
    sockets[0][0].emit("all", "near", "end");
    for (const [number, some] of inboxes.entries()) {
      for (const { news, near } of some) {
        for (let index = 0; index < 20; index += 1) {
          assert.deepEqual(await news.next(), [index, { a: [null] }]);
          if (number === 1) assert.deepEqual((await near.next()).length, 1);
        }
        assert.deepEqual(await news.next(), [BYTES]);
        if (number !== 1) assert.deepEqual(await near.next(), ["end"], "nothing of another server's own");
      }
    }
    close(...sockets.flat());
  });

  test("the sender is left out on its own server only, rooms and exclusions count everywhere", async () => {
    const sockets = await clients(2);
    const [[one, two], [three, four], [five, six]] = sockets;
    const inboxes = new Map(sockets.flat().map((socket) => [socket, listen(socket, "news")]));
    await Promise.all([two, four, five].map((socket) => emitWithAck(socket, "join", "a")));
    await Promise.all([four, six].map((socket) => emitWithAck(socket, "join", "b")));
    one.emit("broadcast", "news", 1);
    one.emit("room", ["a", "b"], [], "news", 2);
    one.emit("room", "a", "b", "news", 3);
    one.emit("room", [], [one.id, six.id], "news", 4);
    one.emit("all", "news", "end");
    const expected = new Map([[one, []], [two, [1, 2, 3, 4]], [three, [1, 4]], [four, [1, 2, 4]], [five, [1, 2, 3, 4]], [six, [1, 2]]]);
    for (const [socket, numbers] of expected) {
      for (const number of [...numbers, "end"]) assert.deepEqual(await inboxes.get(socket).next(), [number]);
    }
    close(...sockets.flat());
  });

  test("sockets of other servers join, leave and are disconnected", async () => {
    const sockets = await clients();
    const [[one], [two], [three]] = sockets;
    await emitWithAck(three, "join", "chosen");
    one.emit("sockets_join", "chosen", "x");
    one.emit("sockets_join", [], "everybody");
    one.emit("sockets_leave", "chosen", "chosen");
    await settle(sockets);
    const rooms = (found) => found.map(({ id, rooms }) => [id, rooms.filter((room) => room !== id)]);
    assert.deepEqual(rooms(await emitWithAck(two, "fetch", "x")), [[three.id, ["everybody", "x"]]]);
    assert.equal((await emitWithAck(two, "fetch", "everybody")).length, 3);
    assert.deepEqual(await emitWithAck(two, "fetch", "chosen"), []);
    const gone = new Promise((resolve) => three.once("disconnect", resolve));
    two.emit("disconnect_room", "x", true);
    assert.equal(await gone, "io server disconnect");
    assert.equal((await emitWithAck(one, "fetch", "everybody")).length, 2);
    close(...sockets.flat());
  });

  test("clients of all servers acknowledge", async () => {
    const sockets = await clients(2);
    for (const [index, socket] of sockets.flat().entries()) {
      await emitWithAck(socket, "join", "jury");
      socket.on("question", (_room, reply) => reply(index, "second"));
    }
    assert.deepEqual(await emitWithAck(sockets[1][0], "survey", "jury", 20_000), [true, [0, 1, 2, 3, 4, 5]]);
    assert.deepEqual(await emitWithAck(sockets[1][0], "survey", "nobody", 20_000), [true, []]);
    sockets[2][1].off("question");
    const some = await inTime(async (number) => {
      const [isWhole, answers] = await emitWithAck(sockets[0][0], "survey", "jury", 1_500 * (number + 1));
      assert.equal(isWhole, false, "one never answers");
      return answers.length >= 5 ? answers : undefined;
    }, "not all of the others have answered");
    assert.deepEqual(some, [0, 1, 2, 3, 4]);
    sockets[2][0].off("question").on("question", (_room, reply) => reply(BYTES));
    assert.equal((await emitWithAck(sockets[0][0], "survey", sockets[2][0].id, 20_000))[0], true);
    close(...sockets.flat());
  });

  test("a remote socket shows its handshake, rooms and data, and is operated from another server", async () => {
    const sockets = await clients(1, { auth: { token: "x" }, transports: ["websocket"] });
    const [[one], [two], [three]] = sockets;
    await emitWithAck(three, "join", "b");
    await emitWithAck(three, "join", "a");
    const described = { id: three.id, rooms: [three.id, "a", "b"].sort(), data: { server: 2 }, auth: { token: "x" }, transport: "websocket" };
    for (const socket of [one, two, three]) {
      const [found, ...others] = await emitWithAck(socket, "fetch", "a");
      assert.deepEqual([{ ...found, rooms: found.rooms.sort() }, others], [described, []]);
    }
    const poked = listen(three, "poked");
    await emitWithAck(one, "remote", three.id, "emit", { deep: [1] });
    assert.deepEqual(await poked.next(), [{ deep: [1] }]);
    three.on("question", (_text, reply) => reply({ an: "answer" }, "second"));
    assert.deepEqual(await emitWithAck(one, "remote", three.id, "ask", 20_000), [true, { an: "answer" }]);
    three.off("question");
    assert.deepEqual(await emitWithAck(one, "remote", three.id, "ask", 300), [false, null]);
    await emitWithAck(one, "remote", three.id, "join", "c");
    await emitWithAck(one, "remote", three.id, "leave", "a");
    await settle(sockets);
    assert.deepEqual((await emitWithAck(two, "fetch", "c"))[0].rooms.sort(), [three.id, "b", "c"].sort());
    const gone = new Promise((resolve) => three.once("disconnect", resolve));
    await emitWithAck(one, "remote", three.id, "disconnect", false);
    assert.equal(await gone, "io server disconnect");
    close(...sockets.flat());
  });

  test("servers hear each other and not themselves", async () => {
    const sockets = await clients();
    const heard = sockets.map(([socket]) => listen(socket, "heard"));
    sockets[0][0].emit("servers", "a", 1, { b: [2] });
    await settle(sockets);
    sockets[1][0].emit("servers", "end");
    assert.deepEqual(await heard[0].next(), [0, "end"]);
    assert.deepEqual(await heard[1].next(), [1, "a", 1, { b: [2] }]);
    assert.deepEqual(await heard[2].next(), [2, "a", 1, { b: [2] }]);
    assert.deepEqual(await heard[2].next(), [2, "end"]);
    close(...sockets.flat());
  });

  test("they answer each other once, with one value; reserved names are refused", async () => {
    const sockets = await clients();
    assert.deepEqual(await emitWithAck(sockets[1][0], "ask servers", "number"), [true, [0, 2], null]);
    assert.deepEqual(await emitWithAck(sockets[1][0], "ask servers", "double", BYTES), [
      true,
      [Buffer.concat([BYTES, BYTES]), Buffer.concat([BYTES, BYTES])],
      null,
    ]);
    for (const name of ["connect", "connection", "new_namespace"]) assert.equal(await emitWithAck(sockets[0][0], "reserved", name), true);
    assert.equal(await emitWithAck(sockets[0][0], "reserved", "disconnect"), false);
    close(...sockets.flat());
  });

  test("who has no listener never answers, and those that did are told", async () => {
    const sockets = await clients();
    const answered = [0, 2].map((number) => emitWithAck(sockets[number][0], "ask servers", "of the last"));
    assert.deepEqual(await Promise.all(answered), [
      [false, ["last"], "timeout reached: only 1 responses received out of 2"],
      [false, [], "timeout reached: only 0 responses received out of 2"],
    ]);
    close(...sockets.flat());
  });

  test("rooms are created, joined, left and deleted, each on its own server", async () => {
    const sockets = await clients(1, { transports: ["websocket"] });
    const [[watcher], [other]] = sockets;
    // This answer comes behind what the shards had to tell each other of those who had gone before the last one.
    await everybody(watcher);
    await Promise.all(sockets.map(([socket]) => emitWithAck(socket, "changes")));
    const one = await connect(urls[0]);
    const { id } = one;
    // One shard tells of a room; what two other shards have to say of it is in order only if the first has been told of.
    const changes = [];
    const told = async (...rows) => {
      while (changes.length < rows.length) changes.push(...(await emitWithAck(watcher, "changes")));
      assert.deepEqual(changes.splice(0), rows);
    };
    await emitWithAck(one, "join", "a");
    await emitWithAck(one, "join", "a");
    await told(["create", id], ["join", id, id], ["create", "a"], ["join", "a", id]);
    await emitWithAck(watcher, "join", "a");
    await told(["join", "a", watcher.id]);
    const gone = new Promise((resolve) => one.once("disconnect", resolve));
    watcher.emit("disconnect_room", id, false);
    await gone;
    await told(["leave", id, id], ["delete", id], ["leave", "a", id]);
    watcher.emit("sockets_leave", "a", "a");
    await told(["leave", "a", watcher.id], ["delete", "a"]);
    assert.deepEqual(await emitWithAck(other, "changes"), [], "another server has its own rooms");
    close(one, ...sockets.flat());
  });
});
