// The session below a socket: what it is, what passes through it, and how it ends.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { client, close, connect, connected, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { Engine } from "../harness/engine.mjs";
import { eventually, within } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

/** What the server says of the end of one socket. */
async function endOf(server, id, event = "ends") {
  const asker = await connect(server);
  const ends = await eventually(() => emitWithAck(asker, event), (all) => all.some(([ended]) => ended === id), `the end of ${id}`);
  close(asker);
  return ends.find(([ended]) => ended === id).slice(1);
}

suite("connections", "the session below", (server) => {
  /** A client whose two sockets share one connection. */
  async function twoSockets(transport) {
    const first = await connect(server, { ...TRANSPORTS[transport] });
    const second = first.io.socket("/second");
    await connected(second);
    return [first, second];
  }

  for (const transport of ["polling only", "WebSocket only"]) {
    test(`what it is: ${transport}`, async () => {
      const [first, second] = await twoSockets(transport);
      const about = await emitWithAck(second, "about");
      const { id } = first.io.engine;
      const sockets = ["/", "/second"];
      const name = transport.startsWith("polling") ? "polling" : "websocket";
      assert.deepEqual(about, { id, transport: name, protocol: 4, state: "open", query: "4", address: true, sockets });
      second.disconnect();
      const left = await emitWithAck(first, "about");
      assert.deepEqual(left.sockets, ["/"]);
      close(first);
    });

    test(`closing it ends all sockets of the client: ${transport}`, async () => {
      for (const discard of [false, true]) {
        const [first, second] = await twoSockets(transport);
        const [ids, engineId] = [[first.id, second.id], first.io.engine.id];
        const heard = listen(first, "before");
        const gone = Promise.all([first, second].map((socket) => once(socket, "disconnect")));
        first.emit("close", discard);
        if (!discard) assert.deepEqual(await heard.next(), ["the end"]);
        const reasons = await within(gone, "not disconnected");
        // A client that polls may find that its request came too late.
        for (const [reason] of reasons) assert.match(reason, /^transport (close|error)$/);
        for (const id of ids) assert.deepEqual(await endOf(server, id), ["forced close", null]);
        assert.deepEqual(await endOf(server, engineId, "closed"), ["forced close", null]);
      }
    });
  }

  test("a raw message goes to the client, and siblings are reached", async () => {
    const [first, second] = await twoSockets("WebSocket only");
    const raw = once(first, "hello");
    first.emit("raw", '2["hello","raw"]');
    assert.deepEqual(await raw, ["raw"]);
    const heard = [first, second].map((socket) => once(socket, "sibling"));
    second.emit("siblings", "both");
    assert.deepEqual(await Promise.all(heard), [["both"], ["both"]]);
    close(first);
  });

  test("it tells of its upgrade", async () => {
    const socket = await connect(server, { ...TRANSPORTS.upgrade });
    const { id } = socket.io.engine;
    const own = ([session]) => session === id;
    const log = await eventually(() => emitWithAck(socket, "upgrades"), (all) => all.filter(own).length === 2, "an upgrade");
    assert.deepEqual(log.filter(own), [[id, "upgrading", "websocket"], [id, "upgrade", "websocket"]]);
    assert.equal((await emitWithAck(socket, "about")).transport, "websocket");
    close(socket);
  });

  for (const transport of ["polling only", "WebSocket only"]) {
    test(`what passes through it is heard, as long as somebody listens: ${transport}`, async () => {
      const socket = await connect(server, { ...TRANSPORTS[transport] });
      await emitWithAck(socket, "watch");
      await emitWithAck(socket, "log");
      socket.emit("x", Buffer.from("abc"));
      const about = await emitWithAck(socket, "about");
      const first = await emitWithAck(socket, "log");
      const came = first.filter((line) => /^(packet|message)/.test(line));
      const binary = ['451-["x",{"_placeholder":true,"num":0}]'.slice(1), "3 bytes"];
      const id = Number(came.at(-1).match(/2(\d+)\["log"\]/)[1]);
      const texts = [...binary, `2${id - 1}["about"]`, `2${id}["log"]`];
      assert.deepEqual(came, texts.flatMap((text) => [`packet ${text}`, `message ${text}`]));
      const all = [...first, ...(await emitWithAck(socket, "log"))];
      const created = all.find((line) => line.startsWith(`create 3${id - 1}[`));
      assert.deepEqual(JSON.parse(created.slice(created.indexOf("["))), [about], "the acknowledgement was created");
      for (const event of ["flush", "drain"]) assert.ok(all.includes(event), event);
      await eventually(() => emitWithAck(socket, "log"), (log) => log.includes("heartbeat"), "a heartbeat");
      socket.emit("enough");
      await emitWithAck(socket, "log");
      const last = await emitWithAck(socket, "log");
      assert.ok(last.every((line) => line.startsWith("message")), JSON.stringify(last));
      close(socket);
    });
  }

  test("the number of clients counts those without a namespace", async () => {
    const socket = await connect(server);
    // Those of earlier tests go when the server hears of it.
    const before = await eventually(() => emitWithAck(socket, "clients"), (count) => count === 1, "somebody is there");
    const engine = new Engine(server);
    const wires = [await engine.openWebsocket(), await engine.openWebsocket()];
    await engine.open();
    assert.equal(await emitWithAck(socket, "clients"), before + 3);
    for (const wire of wires) wire.close();
    await eventually(() => emitWithAck(socket, "clients"), (count) => count === before + 1, "the number of clients");
    close(socket);
  });
});

// A GET that waits is not to be answered with a ping.
suite(["connections", "--ping-interval", "60000"], "the session below, between pings", (server) => {
  test("an end says what exactly happened", async () => {
    const engine = new Engine(server);
    const join = async () => {
      const wire = await engine.openWebsocket();
      wire.send("40");
      return [wire, JSON.parse((await wire.nextMessage()).slice(2)).sid];
    };
    const [large, largeId] = await join();
    large.send(`4${"x".repeat(1_000_001)}`);
    assert.deepEqual(await endOf(server, largeId), ["transport error", "Max payload size exceeded"]);
    const [ping, pingId] = await join();
    ping.send("2");
    assert.deepEqual(await endOf(server, pingId), ["transport error", "invalid heartbeat direction"]);
    const { sid } = await engine.open();
    await engine.post(sid, "40");
    const id = JSON.parse((await engine.poll(sid)).body.slice(2)).sid;
    const [first, second] = await Promise.all([engine.poll(sid), engine.poll(sid)]);
    assert.deepEqual([first.status, second.status].sort(), [200, 400]);
    assert.deepEqual(await endOf(server, id), ["transport error", "overlap from client"]);
    const left = (await engine.open()).sid;
    await engine.post(left, "40");
    const leftId = JSON.parse((await engine.poll(left)).body.slice(2)).sid;
    const abort = new AbortController();
    const { answer } = await engine.waitingPoll(left, { signal: abort.signal });
    abort.abort();
    await assert.rejects(answer, { name: "AbortError" });
    assert.deepEqual(await endOf(server, leftId), ["transport error", "poll connection closed prematurely"]);
    const [leaver, leaverId] = await join();
    leaver.send("41");
    assert.deepEqual(await endOf(server, leaverId), ["client namespace disconnect", null]);
  });
});
