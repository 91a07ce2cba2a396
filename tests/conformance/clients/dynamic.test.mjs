// Namespaces that come into being when a client asks for them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { client, close, connect, emitWithAck, listen } from "../harness/client.mjs";
import { suite } from "../harness/server.mjs";

suite("dynamic", "namespaces on demand", (server) => {
  async function join(namespace, auth = {}) {
    const socket = client(server, { namespace, auth });
    const welcome = listen(socket, "welcome");
    socket.connect();
    return { socket, welcome: await welcome.next() };
  }

  async function refusal(namespace, auth = {}) {
    const socket = client(server, { namespace, auth });
    const failed = once(socket, "connect_error");
    socket.connect();
    const [error] = await failed;
    close(socket);
    return error.message;
  }

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

  // Node has no bound.
  if (process.env.RINGIO_SERVER) {
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
