// From an open connection to joined namespaces and out of them again, packet by packet.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Engine } from "../harness/engine.mjs";
import { emitWithAck, close, connect } from "../harness/client.mjs";
import { inTime } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const isOurs = Boolean(process.env.RINGIO_SERVER);

/** The payload of a packet with this header. */
function payloadOf(message, header) {
  assert.ok(message.startsWith(header), message);
  return JSON.parse(message.slice(header.length));
}

suite("clients", "joining", (server) => {
  const engine = new Engine(server);

  async function isAlive(wire, namespace = "") {
    wire.send(`42${namespace}5["ack","alive"]`);
    assert.equal(await wire.nextMessage(), `43${namespace}5["alive"]`);
  }

  for (const [what, packet, header] of [
    ["by the type alone", "40", "40"],
    ["with an object", '40{"a":1}', "40"],
    ["by the main namespace's name", "40/,", "40"],
    ["another one", "40/admin,", "40/admin,"],
    ["another one, without the comma", "40/admin", "40/admin,"],
    ["another one, with an object", '40/admin,{"a":{"b":[]}}', "40/admin,"],
  ]) {
    test(`a namespace is joined: ${what}`, async () => {
      const wire = await engine.openWebsocket();
      wire.send(packet);
      const { sid } = payloadOf(await wire.nextMessage(), header);
      assert.match(sid, /^[\w-]{20}$/);
      assert.notEqual(sid, wire.handshake.sid, "the id is the socket's own, not the connection's");
      await isAlive(wire, header.slice(2));
      wire.close();
    });
  }

  test("an empty message joins nothing and closes the connection", async () => {
    const wire = await engine.openWebsocket();
    wire.send("4");
    assert.equal((await wire.closed()).code, 1005);
    const { sid } = await engine.open();
    await engine.post(sid, "4");
    assert.equal((await engine.poll(sid)).body.split("\x1e").at(-1), "1");
    await engine.assertUnknown(sid);
  });

  test("each namespace gives an id of its own, and one can be left without the other", async () => {
    const wire = await engine.openWebsocket();
    wire.send("40");
    wire.send("40/admin,");
    const main = payloadOf(await wire.nextMessage(), "40").sid;
    const admin = payloadOf(await wire.nextMessage(), "40/admin,").sid;
    assert.notEqual(main, admin);
    wire.send("41/admin,");
    await isAlive(wire);
    wire.send("40/admin,");
    assert.notEqual(payloadOf(await wire.nextMessage(), "40/admin,").sid, admin, "who comes again is somebody new");
    await isAlive(wire, "/admin,");
    wire.close();
  });

  test("a namespace that there is not is refused, and the connection goes on", async () => {
    const wire = await engine.openWebsocket();
    wire.send("40/nowhere,");
    assert.equal(await wire.nextMessage(), '44/nowhere,{"message":"Invalid namespace"}');
    wire.send("40/nowhere");
    assert.equal(await wire.nextMessage(), '44/nowhere,{"message":"Invalid namespace"}');
    wire.send("40");
    payloadOf(await wire.nextMessage(), "40");
    await isAlive(wire);
    wire.close();
  });

  // JavaScript takes what `Number` takes for a number; ours takes digits.
  for (const [what, packets, answer] of [
    ["an ack id behind a space", ['42 1["ack",1]'], "431[1]"],
    ["an attachment count with an exponent", ['451e0-7["ack",{"_placeholder":true,"num":0}]', Buffer.of(1)], '461-7[{"_placeholder":true,"num":0}]'],
  ]) {
    test(`${what} is a number for Node, and none for ours`, async () => {
      const wire = await engine.openWebsocket();
      wire.send("40");
      await wire.nextMessage();
      for (const packet of packets) wire.send(packet);
      if (isOurs) assert.equal((await wire.closed()).code, 1005);
      else assert.equal(await wire.nextMessage(), answer);
      wire.close();
    });
  }
});

suite("guarded", "joining, while a middleware thinks", (server) => {
  const engine = new Engine(server);

  /** Somebody for whom the middleware waits until `name` is released. */
  async function asked(name = "never") {
    const wire = await engine.openWebsocket();
    wire.send(`40{"hold":"${name}"}`);
    assert.match(await wire.nextMessage(), /^42\["early"/);
    return wire;
  }

  test("an event for the namespace closes the connection", async () => {
    const wire = await asked();
    wire.send('42["anything"]');
    assert.equal((await wire.closed()).code, 1005);
  });

  test("other namespaces can be joined", async () => {
    const wire = await asked("others");
    wire.send("40/open,");
    payloadOf(await wire.nextMessage(), "40/open,");
    wire.send('42/open,1["release","others"]');
    assert.equal(await wire.nextMessage(), "43/open,1[]");
    payloadOf(await wire.nextMessage(), "40");
    wire.close();
  });

  test("a second connect closes ours; Node joins twice, under two ids", async () => {
    const wire = await asked("twice");
    wire.send('40{"hold":"twice"}');
    if (isOurs) {
      assert.equal((await wire.closed()).code, 1005);
    } else {
      const answers = [];
      const open = await connect(server, { namespace: "/open" });
      await emitWithAck(open, "release", "twice");
      close(open);
      while (answers.length < 2) {
        const message = await wire.nextMessage();
        if (message.startsWith("40")) answers.push(payloadOf(message, "40").sid);
      }
      assert.notEqual(answers[0], answers[1]);
    }
    wire.close();
  });
});

suite(["socketio-v5", "--ping-timeout", "20000"], "joining, in time", (server) => {
  const engine = new Engine(server);

  describe("a connection without a namespace is closed after a second", () => {
    for (const [what, packets] of [["with nothing said", []], ["with a refusal heard", ["40/nowhere,"]]]) {
      test(what, async () => {
        const wire = await engine.openWebsocket();
        for (const packet of packets) wire.send(packet);
        answerPings(wire, () => false);
        assert.equal((await wire.closed()).code, 1005);
      });
    }
  });

  test("one that has left its only namespace stays", async () => {
    const wire = await inTime(async () => {
      const wire = await engine.openWebsocket();
      wire.send("40");
      // Closed already: too late for the second.
      const answer = await wire.nextMessage().catch(() => undefined);
      return answer && (payloadOf(answer, "40"), wire);
    }, "not joined");
    assert.match(await wire.nextMessage(), /^42\["auth"/);
    wire.send("41");
    // Six pings of 300 ms: longer than the second in which something had to be joined.
    let pings = 0;
    await answerPings(wire, () => (pings += 1) === 6);
    wire.send("40");
    payloadOf(await wire.nextMessage(), "40");
    wire.close();
  });

  async function answerPings(wire, isEnough) {
    try {
      for (;;) {
        if ((await wire.next()) !== "2") continue;
        wire.send("3");
        if (isEnough()) return;
      }
    } catch {
      // Closed: its own test asks for that.
    }
  }
});
