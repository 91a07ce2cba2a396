// Namespaces that come into being when a client asks for them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { client, close, connect, emitWithAck, listen } from "../harness/client.mjs";
import { eventually } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

/** A client in a namespace that welcomes it. */
async function enter(server, namespace, auth = {}) {
  const socket = client(server, { namespace, auth });
  const welcomes = listen(socket, "welcome");
  socket.connect();
  return { socket, welcomes, welcome: await welcomes.next() };
}

/** Why a client is not let into a namespace. */
async function refused(server, namespace, auth = {}) {
  const socket = client(server, { namespace, auth });
  const failed = once(socket, "connect_error");
  socket.connect();
  const [error] = await failed;
  close(socket);
  return error.message;
}

suite("dynamic", "namespaces on demand", (server) => {
  const join = (namespace, auth) => enter(server, namespace, auth);
  const refusal = (namespace, auth) => refused(server, namespace, auth);

  test("a matching name is made once, with the handlers of its parent", async () => {
    const main = await connect(server);
    const all = await Promise.all(["/room-1", "/room-1", "/room-1", "/room-2", "/room-2"].map((name) => join(name)));
    assert.deepEqual(all.map(({ welcome }) => welcome), [["/room-1"], ["/room-1"], ["/room-1"], ["/room-2"], ["/room-2"]]);
    const made = await emitWithAck(main, "made");
    for (const name of ["/room-1", "/room-2"]) assert.equal(made.filter((other) => other === name).length, 1, name);
    all.forEach(({ socket }) => close(socket));
    close(main);
  });

  test("children are apart from each other, and the parent reaches all", async () => {
    const [one, same, other] = await Promise.all(["/room-11", "/room-11", "/room-12"].map((name) => join(name)));
    const inboxes = [one, same, other].map(({ socket }) => listen(socket, "text"));
    one.socket.emit("here", "mine");
    assert.deepEqual(await inboxes[1].next(), ["mine"]);
    assert.deepEqual(await inboxes[0].next(), ["mine"]);
    other.socket.emit("everywhere", "all");
    for (const inbox of inboxes) assert.deepEqual(await inbox.next(), ["all"]);
    [one, same, other].forEach(({ socket }) => close(socket));
  });

  test("parents are asked in their order, and may look at auth", async () => {
    const { socket, welcome } = await join("/room-x", { token: "open sesame" });
    assert.deepEqual(welcome, ["a secret"]);
    close(socket);
    const first = await join("/room-21", { token: "open sesame" });
    assert.deepEqual(first.welcome, ["/room-21"]);
    close(first.socket);
  });

  test("what nobody accepts is no namespace; a middleware of the parent refuses in its own words", async () => {
    assert.equal(await refusal("/room-y"), "Invalid namespace");
    assert.equal(await refusal("/room-"), "Invalid namespace");
    assert.equal(await refusal("/nothing"), "Invalid namespace");
    assert.equal(await refusal("/panic"), "Invalid namespace");
    assert.equal(await refusal("/room-31", { refuse: "not you" }), "not you");
  });

  test("a parent reaches rooms in all children, but those excepted", async () => {
    const names = ["/room-41", "/room-41", "/room-42", "/room-42"];
    const all = await Promise.all(names.map((name) => join(name)));
    for (const { socket } of all) await emitWithAck(socket, "join", "lobby");
    for (const { socket } of [all[1], all[2]]) await emitWithAck(socket, "join", "deaf");
    const inboxes = all.map(({ socket }) => listen(socket, "text"));
    all[0].socket.emit("some", "lobby", "deaf", "some");
    all[0].socket.emit("everywhere", "all");
    for (const index of [0, 3]) assert.deepEqual(await inboxes[index].take(2), [["some"], ["all"]]);
    for (const index of [1, 2]) assert.deepEqual(await inboxes[index].next(), ["all"]);
    all.forEach(({ socket }) => close(socket));
  });

  test("what a parent gets or loses later holds for namespaces that are made later", async () => {
    const main = await connect(server);
    const before = await join("/grown-1");
    assert.deepEqual(before.welcome, ["first"]);
    await emitWithAck(main, "grow");
    // A child that was there keeps what it had: neither the middleware nor the listener.
    const old = await join("/grown-1", { refuse: "me" });
    assert.deepEqual(old.welcome, ["first"]);
    await emitWithAck(old.socket, "fence");
    assert.equal(old.welcomes.size, 0);
    assert.equal(await refusal("/grown-2", { refuse: "me" }), "the added middleware");
    const young = await join("/grown-2");
    assert.deepEqual([young.welcome, await young.welcomes.next()], [["first"], ["added"]]);
    await emitWithAck(main, "shrink");
    const again = await join("/grown-2");
    assert.deepEqual([again.welcome, await again.welcomes.next()], [["first"], ["added"]]);
    const last = await join("/grown-3");
    assert.deepEqual(last.welcome, ["first"]);
    await emitWithAck(last.socket, "fence");
    assert.equal(last.welcomes.size, 0);
    assert.equal(await refusal("/grown-3", { refuse: "me" }), "the added middleware", "a middleware stays");
    close(main, ...[before, old, young, again, last].map(({ socket }) => socket));
  });

  test("clients that wait for the same predicate get one namespace", async () => {
    const main = await connect(server);
    const names = Array.from({ length: 8 }, () => "/later-1");
    const all = await Promise.all(names.map((name) => join(name)));
    assert.deepEqual(all.map(({ welcome }) => welcome), names.map(() => ["later"]));
    const made = await emitWithAck(main, "made");
    assert.equal(made.filter((name) => name === "/later-1").length, 1);
    assert.equal(await refusal("/later-2", { refuse: "x" }), "Invalid namespace");
    all.forEach(({ socket }) => close(socket));
    close(main);
  });

  test("acknowledgements of children do not meet", async () => {
    const names = Array.from({ length: 9 }, (_, index) => `/room-5${index % 3}`);
    const all = await Promise.all(names.map((name) => join(name)));
    all.forEach(({ socket }, index) => socket.on("number?", (reply) => setTimeout(reply, 5 * (index % 4), index)));
    const sums = await Promise.all([0, 1, 2, 0, 1, 2].map((index) => emitWithAck(all[index].socket, "survey")));
    assert.deepEqual(sums, [9, 12, 15, 9, 12, 15]);
    all.forEach(({ socket }) => close(socket));
  });

  test("without cleanup a child stays when it is empty", async () => {
    const main = await connect(server);
    const { socket } = await join("/room-61");
    close(socket);
    await Promise.all([0, 1, 2].map(async () => close((await join("/room-62")).socket)));
    assert.ok((await emitWithAck(main, "there")).includes("/room-61"));
    close(main);
  });

  // Node has no bound, and makes a namespace for a client that is gone.
  if (process.env.RINGIO_SERVER) {
    test("a client that leaves while a predicate decides makes nothing", async () => {
      const main = await connect(server);
      const gone = client(server, { namespace: "/later-told" });
      gone.connect();
      await emitWithAck(main, "asked");
      close(gone);
      await eventually(() => emitWithAck(main, "clients"), (count) => count === 1, "it is gone");
      await emitWithAck(main, "release", "/later-told");
      const { socket } = await join("/later-8");
      assert.ok(!(await emitWithAck(main, "there")).includes("/later-told"));
      close(main, socket);
    });

    test("clients cannot make them without end, and those that are there go on", async () => {
      const answers = [];
      for (let number = 1000; number <= 1200 && answers.at(-1) !== "Invalid namespace"; number += 1) {
        const socket = client(server, { namespace: `/room-${number}` });
        const answer = Promise.race([once(socket, "welcome"), once(socket, "connect_error")]);
        socket.connect();
        const [first] = await answer;
        answers.push(first.message ?? first);
        close(socket);
      }
      assert.equal(answers.at(-1), "Invalid namespace");
      assert.ok(answers.length > 150, `${answers.length} were enough`);
      const { socket, welcome } = await join("/room-1000");
      assert.deepEqual(welcome, ["/room-1000"]);
      close(socket);
    });
  }
});

suite("dynamic-cleanup", "namespaces that go when they are empty", (server) => {
  const join = (namespace, auth) => enter(server, namespace, auth);
  const isGone = (main, name) => eventually(() => emitWithAck(main, "there"), (names) => !names.includes(name), `${name} is gone`);

  test("a child goes with its last socket, from whatever shard, and comes back when it is asked for", async () => {
    const main = await connect(server);
    const all = await Promise.all(Array.from({ length: 6 }, () => join("/room-1")));
    for (const { socket } of all.slice(1)) socket.disconnect();
    assert.deepEqual((await join("/room-2")).welcome, ["/room-2"]);
    assert.ok((await emitWithAck(main, "there")).includes("/room-1"), "one is left in it");
    const text = listen(all[0].socket, "text");
    all[0].socket.emit("here", "alone");
    assert.deepEqual(await text.next(), ["alone"]);
    close(all[0].socket);
    await isGone(main, "/room-1");
    const again = await join("/room-1");
    assert.deepEqual(again.welcome, ["/room-1"]);
    const made = await emitWithAck(main, "made");
    assert.equal(made.filter((name) => name === "/room-1").length, 2);
    close(main, again.socket, ...all.map(({ socket }) => socket));
  });

  test("a client that is refused leaves nothing behind", async () => {
    const main = await connect(server);
    assert.equal(await refused(server, "/room-11", { refuse: "not you" }), "not you");
    await isGone(main, "/room-11");
    close(main);
  });

  test("a namespace made by hand is a child, with what its parent has and its own, and goes like one; others stay", async () => {
    const main = await connect(server);
    assert.equal(await emitWithAck(main, "by hand", "room-21"), "/room-21");
    assert.equal(await emitWithAck(main, "by hand", "/fixed"), "/fixed");
    const made = await emitWithAck(main, "made");
    assert.deepEqual(["/room-21", "/fixed"].map((name) => made.filter((other) => other === name).length), [1, 1]);
    const child = await join("/room-21");
    assert.deepEqual([child.welcome, await child.welcomes.next()], [["/room-21"], ["by hand"]]);
    const text = listen(child.socket, "text");
    child.socket.emit("everywhere", "to children");
    assert.deepEqual(await text.next(), ["to children"]);
    const fixed = await join("/fixed");
    assert.deepEqual(fixed.welcome, ["by hand"]);
    close(child.socket, fixed.socket);
    await isGone(main, "/room-21");
    const again = await join("/room-21");
    again.socket.emit("here", "x");
    const later = listen(again.socket, "text");
    assert.deepEqual(await later.next(), ["x"]);
    assert.equal(again.welcomes.size, 0, "what the former one had of its own went with it");
    const names = await emitWithAck(main, "there");
    assert.ok(names.includes("/fixed") && names.includes("/"));
    close(main, again.socket);
  });

  test("clients that come and go at the same time are all let in", async () => {
    const main = await connect(server);
    await Promise.all(Array.from({ length: 12 }, async (_, index) => {
      for (let round = 0; round < 12; round += 1) {
        const { socket, welcome } = await join(`/room-3${index % 2}`);
        assert.deepEqual(welcome, [`/room-3${index % 2}`]);
        close(socket);
      }
    }));
    await isGone(main, "/room-30");
    await isGone(main, "/room-31");
    close(main);
  });
});
