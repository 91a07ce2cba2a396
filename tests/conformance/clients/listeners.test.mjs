// Listeners of what comes and of what is sent: their order, what they hear, and how they are removed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { close, connect, emitWithAck, listen } from "../harness/client.mjs";
import { suite } from "../harness/server.mjs";

suite("listeners", "listeners", (server) => {
  /** A connected client, what it is sent as `news`, and what its server side has written down since the last question. */
  async function watcher() {
    const socket = await connect(server);
    const news = listen(socket, "news");
    return { socket, news, log: () => emitWithAck(socket, "log") };
  }

  test("outgoing listeners hear emits and broadcasts, one prepended first; acknowledgements are no events", async () => {
    const [one, ...others] = await Promise.all(Array.from({ length: 6 }, watcher));
    assert.equal(await emitWithAck(one.socket, "watch"), 2);
    one.socket.emit("me", 1, { a: [true] });
    assert.deepEqual(await one.log(), [["before", "mine", [1, { a: [true] }]], ["first", "mine", [1, { a: [true] }]]]);
    for (const [index, { socket }] of others.entries()) socket.emit("all", index);
    const heard = [];
    for (let count = 0; count < others.length; count += 1) heard.push((await one.news.next())[0]);
    const log = await one.log();
    assert.deepEqual(log, heard.flatMap((index) => [["before", "news", [index]], ["first", "news", [index]]]));
    assert.deepEqual(await others[0].log(), [], "the sockets of others are not watched");
    close(one.socket, ...others.map(({ socket }) => socket));
  });

  test("they hear a question without its acknowledgement", async () => {
    const { socket, log } = await watcher();
    socket.on("question", (...args) => args.pop()("answer"));
    await emitWithAck(socket, "watch");
    assert.equal(await emitWithAck(socket, "ask me", "why"), "answer");
    assert.deepEqual(await log(), [["before", "question", ["why"]], ["first", "question", ["why"]]]);
    close(socket);
  });

  test("one of them is removed, and then all", async () => {
    const { socket, log } = await watcher();
    await emitWithAck(socket, "watch");
    assert.equal(await emitWithAck(socket, "unwatch", false), 1);
    socket.emit("me", 1);
    assert.deepEqual(await log(), [["before", "mine", [1]]]);
    assert.equal(await emitWithAck(socket, "unwatch", true), 0);
    socket.emit("me", 2);
    assert.deepEqual(await log(), []);
    close(socket);
  });

  test("listeners of an event are called in their order, once of them once, and removed by their handle or their name", async () => {
    const { socket, log } = await watcher();
    assert.equal(await emitWithAck(socket, "listen"), 4);
    const who = async () => (socket.emit("tick", 7), (await log()).map(([name]) => name));
    assert.deepEqual(await who(), ["before", "first", "second", "once"]);
    assert.deepEqual(await who(), ["before", "first", "second"]);
    assert.equal(await emitWithAck(socket, "less"), 2);
    assert.deepEqual(await who(), ["before", "second"]);
    assert.equal(await emitWithAck(socket, "none"), 0);
    assert.deepEqual(await who(), []);
    close(socket);
  });

  test("all listeners of a socket are removed; its namespace and its connection live on", async () => {
    const { socket, news } = await watcher();
    await emitWithAck(socket, "listen");
    assert.deepEqual(await emitWithAck(socket, "forget"), []);
    socket.emit("tick", "nobody");
    socket.emit("all", "still here");
    assert.deepEqual(await news.next(), ["still here"]);
    close(socket);
  });

  test("listeners of any event come first, in their order, and are removed", async () => {
    const { socket, log } = await watcher();
    assert.equal(await emitWithAck(socket, "any"), 2);
    socket.emit("tick", "x");
    assert.deepEqual((await log()).filter(([, name]) => name === "tick"), [["first any", "tick", ["x"]], ["any", "tick", ["x"]]]);
    assert.equal(await emitWithAck(socket, "one any"), 1);
    await log();
    socket.emit("tick", "y");
    assert.deepEqual((await log()).filter(([, name]) => name === "tick"), [["first any", "tick", ["y"]]]);
    assert.equal(await emitWithAck(socket, "no any"), 0);
    await log();
    socket.emit("tick", "z");
    assert.deepEqual(await log(), []);
    close(socket);
  });
});
