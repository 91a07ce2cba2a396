// What comes before what on the wire, and what travels together: joins, answers, goodbyes, and the end of a session.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, emitWithAck } from "../harness/client.mjs";
import { Engine } from "../harness/engine.mjs";
import { eventually } from "../harness/inbox.mjs";
import { isNode, suite } from "../harness/server.mjs";

const json = (message, header) => {
  assert.ok(message.startsWith(header), message);
  return JSON.parse(message.slice(header.length));
};

/** A WebSocket that has joined "/", and what the answer to its CONNECT says. */
async function joined(engine, auth = "") {
  const wire = await engine.openWebsocket();
  wire.send(`40${auth}`);
  return { wire, ...json(await wire.nextMessage(), "40") };
}

/** A polling session that has joined "/". */
async function joinedByPolling(engine) {
  const { sid } = await engine.open();
  await engine.post(sid, "40");
  return { sid, id: json((await engine.poll(sid)).body, "40").sid };
}

/** The packets of as many polls as it takes until `last` has come. */
async function pollUntil(engine, sid, last) {
  const packets = [];
  while (packets.at(-1) !== last) packets.push(...(await engine.poll(sid)).body.split("\x1e").filter((packet) => packet !== "2"));
  return packets;
}

suite("clients", "what comes before what", (server) => {
  const engine = new Engine(server);

  test("events of one payload are handled in their order, and a room counts from the join on", async () => {
    const { sid, id } = await joinedByPolling(engine);
    const room = (name) => `42["room","hall ${id}","${name}"]`;
    const change = (number, what) => `42${number}["${what}","hall ${id}"]`;
    const sent = [room("before"), change(1, "join"), room("inside"), '422["rooms"]', change(3, "leave"), room("after"), '424["ack"]'];
    await engine.post(sid, sent.join("\x1e"));
    const rooms = JSON.stringify([[id, `hall ${id}`].sort()]);
    assert.deepEqual(await pollUntil(engine, sid, "434[]"), ["431[]", '42["inside"]', `432${rooms}`, "433[]", "434[]"]);
  });

  test("an answer that comes after its socket has left is not sent; Node sends it, if the connection is open", async () => {
    const { wire } = await joined(engine);
    const name = `late ${wire.handshake.sid}`;
    wire.send(`421["hold","${name}"]`);
    wire.send('422["ack"]');
    assert.equal(await wire.nextMessage(), "432[]");
    wire.send("41");
    wire.send("40/admin,");
    json(await wire.nextMessage(), "40/admin,");
    wire.send("40");
    json(await wire.nextMessage(), "40");
    wire.send(`423["release","${name}"]`);
    assert.equal(await wire.nextMessage(), "433[]");
    wire.send('424["slow",20,"in time"]');
    if (isNode) assert.equal(await wire.nextMessage(), `431["${name}"]`);
    assert.equal(await wire.nextMessage(), '434["in time"]');
    wire.close();
  });

  test("an event behind its own CONNECT in one payload comes too early and closes the connection", async () => {
    const { sid } = await engine.open();
    await engine.post(sid, '40\x1e421["ack"]');
    const { body } = await engine.poll(sid);
    assert.equal(body, "6\x1e1");
    await engine.assertUnknown(sid);
  });

  test("what was sent to a socket comes before its goodbye, what it was sent by others included", async () => {
    const { sid } = await joinedByPolling(engine);
    await engine.post(sid, '42["echo","own"]\x1e42["all","everybody"]\x1e42["kickme",false]\x1e42["echo","late"]');
    assert.deepEqual(await pollUntil(engine, sid, "41"), ['42["echo","own"]', '42["everybody"]', "41"]);
    await engine.post(sid, "40");
    json((await engine.poll(sid)).body, "40");
  });

  test("who is sent away from everything hears a goodbye in each namespace, then the end", async () => {
    const { wire } = await joined(engine);
    wire.send("40/admin,");
    json(await wire.nextMessage(), "40/admin,");
    wire.send('42/admin,["kickme",true]');
    assert.deepEqual([await wire.nextMessage(), await wire.nextMessage()], ["41", "41/admin,"]);
    assert.equal((await wire.closed()).code, 1005);
  });

  test("who leaves and joins again in one payload is somebody new for ours; Node closes", async () => {
    const { sid, id } = await joinedByPolling(engine);
    await engine.post(sid, "41\x1e40");
    const { body } = await engine.poll(sid);
    if (isNode) assert.equal(body, "6\x1e1");
    else assert.notEqual(json(body, "40").sid, id);
  });

  test("questions have numbers of one sequence per namespace, whoever asks; of an answer to a room the first argument counts", async () => {
    const { wire, sid } = await joined(engine);
    wire.send("40/admin,");
    const admin = json(await wire.nextMessage(), "40/admin,").sid;
    async function ask(prefix, event, answer, expected) {
      wire.send(`42${prefix}${event}`);
      const question = await wire.nextMessage();
      const id = /^(\d+)\["question","q"\]$/.exec(question.slice(2 + prefix.length))?.[1];
      assert.ok(id !== undefined && question.startsWith(`42${prefix}`), question);
      wire.send(`43${prefix}${id}${answer}`);
      assert.equal(await wire.nextMessage(), `42${prefix}${expected}`);
      return Number(id);
    }
    const numbers = { "": [], "/admin,": [] };
    for (const [prefix, id] of [["", sid], ["/admin,", admin], ["", sid]]) {
      numbers[prefix].push(await ask(prefix, '["askme","q"]', '["one"]', '["answer",true,"one"]'));
      numbers[prefix].push(await ask(prefix, `["survey","${id}","q"]`, '["one","surplus"]', '["surveyed",true,["one"]]'));
    }
    // With several shards each has its share of the numbers.
    const main = numbers[""];
    const step = main[1] - main[0];
    assert.ok(step >= 1 && (!isNode || step === 1), `${main}`);
    assert.deepEqual(main, [0, 1, 2, 3].map((index) => main[0] + index * step));
    assert.equal(numbers["/admin,"][1] - numbers["/admin,"][0], step);
    wire.close();
  });

  describe("who breaks the protocol over polling", () => {
    // [what, packet, reason if a GET waits, reason if none does]
    for (const [what, packet, waiting, none] of [
      ["by the state", "40", "forced close", "forced server close"],
      ["by the syntax", "42{}", "forced close", "forced close"],
    ]) {
      for (const isWaiting of [true, false]) {
        test(`${what}, while ${isWaiting ? "a GET waits" : "no GET waits"}`, async () => {
          const witness = await connect(server);
          const { sid, id } = await joinedByPolling(engine);
          const get = isWaiting && (await engine.waitingPoll(sid)).answer;
          assert.equal((await engine.post(sid, packet)).body, "ok");
          const { status, body } = await (get || engine.poll(sid));
          assert.deepEqual([status, body], [200, isWaiting ? "1" : "6\x1e1"]);
          const rows = await eventually(
            async () => (await emitWithAck(witness, "reasons")).filter(([event, ended]) => event === "disconnect" && ended === id),
            (found) => found.length > 0,
            `the end of ${id}`,
          );
          assert.deepEqual(rows.map(([, , reason]) => reason), [isWaiting ? waiting : none]);
          await engine.assertUnknown(sid);
          close(witness);
        });
      }
    }
  });

  describe("while a WebSocket probes", () => {
    async function probing() {
      const { sid } = await joinedByPolling(engine);
      const wire = engine.websocket({ sid });
      await wire.isOpen;
      wire.send("2probe");
      assert.equal(await wire.next(), "3probe");
      return { sid, wire };
    }

    test("every GET is answered, and packets go to polling until the upgrade", async () => {
      const { sid, wire } = await probing();
      for (let round = 0; round < 2; round += 1) assert.equal((await engine.poll(sid)).body, "6");
      await engine.post(sid, '421["ack"]');
      const packets = await pollUntil(engine, sid, "431[]");
      assert.ok(packets.slice(0, -1).every((packet) => packet === "6"), packets.join());
      await engine.post(sid, '422["ack"]');
      wire.send("5");
      wire.send('423["ack"]');
      assert.deepEqual([await wire.nextMessage(), await wire.nextMessage()], ["432[]", "433[]"]);
      wire.close();
    });

    test("a GET that waits at the upgrade hears of the end", async () => {
      let body;
      // The noop of the time may be there first.
      for (let attempt = 0; attempt < 20 && body !== "1"; attempt += 1) {
        const { sid, wire } = await probing();
        assert.equal((await engine.poll(sid)).body, "6");
        const { answer: get } = await engine.waitingPoll(sid);
        wire.send("5");
        wire.send('421["ack"]');
        assert.equal(await wire.nextMessage(), "431[]");
        ({ body } = await get);
        wire.close();
      }
      assert.equal(body, "1");
    });
  });
});

suite("guarded", "what comes before what, with middlewares", (server) => {
  const engine = new Engine(server);

  test("what a middleware sends, the answer to CONNECT, what a connection handler sends", async () => {
    const wire = await engine.openWebsocket();
    wire.send("40");
    assert.equal(await wire.nextMessage(), '42["early",false]');
    assert.deepEqual(Object.keys(json(await wire.nextMessage(), "40")), ["sid"]);
    assert.equal(await wire.nextMessage(), '42["welcome",true,["from middleware"],null]');
    wire.close();
  });

  test("a refusal has data if there is some, and no such key else", async () => {
    const wire = await engine.openWebsocket();
    for (const [auth, refusal] of [
      ['{"refuse":[1,null]}', '{"message":"refused","data":{"why":[1,null]}}'],
      ['{"late":1}', '{"message":"refused late"}'],
    ]) {
      wire.send(`40${auth}`);
      assert.equal(await wire.nextMessage(), '42["early",false]');
      assert.equal(await wire.nextMessage(), `44${refusal}`);
    }
    wire.close();
  });

  test("who waits for a middleware is in no namespace, though in a room", async () => {
    const witness = await connect(server, { namespace: "/open" });
    const members = () => emitWithAck(witness, "members");
    await eventually(members, (count) => count === 0, "somebody of an earlier test is there");
    const wire = await engine.openWebsocket();
    wire.send('40{"hold":"members"}');
    assert.equal(await wire.nextMessage(), '42["early",false]');
    assert.equal(await members(), 0);
    await emitWithAck(witness, "release", "members");
    json(await wire.nextMessage(), "40");
    assert.equal(await members(), 1);
    wire.close();
    close(witness);
  });
});

suite("recovery", "what comes before what, in recovery", (server) => {
  const engine = new Engine(server);

  test("what was missed comes before the answer to CONNECT, which has the same ids", async () => {
    const { wire, ...connected } = await joined(engine);
    assert.deepEqual(Object.keys(connected), ["sid", "pid"]);
    const { sid, pid } = connected;
    assert.match(pid, /^[\w-]{20}$/);
    const [event, offset] = json(await wire.nextMessage(), "42");
    assert.equal(event, "welcome");
    wire.close();
    const other = await connect(server);
    await eventually(() => emitWithAck(other, "peers", sid), (ids) => ids.length === 0, "still there");
    for (const number of [1, 2]) other.emit("room", sid, "missed", number);
    await emitWithAck(other, "state");

    const again = await engine.openWebsocket();
    again.send(`40${JSON.stringify({ pid, offset })}`);
    for (const number of [1, 2]) assert.deepEqual(json(await again.nextMessage(), "42").slice(0, 2), ["missed", number]);
    assert.equal(await again.nextMessage(), `40{"sid":"${sid}","pid":"${pid}"}`);
    again.close();
    close(other);
  });

  for (const [what, packet, isRecovered] of [
    ["a connection that ends", undefined, true],
    ["a ping in the wrong direction", "2", true],
    ["a violation of the syntax", "42{}", true],
    ["a violation of the state", "40", true],
    ["a packet that is none", "abc", false],
    ["a goodbye of the client", "41", false],
  ]) {
    test(`${what} can${isRecovered ? "" : "not"} be recovered from`, async () => {
      const { wire, sid, pid } = await joined(engine);
      const [, offset] = json(await wire.nextMessage(), "42");
      const other = await connect(server);
      if (packet) wire.send(packet);
      if (!packet || packet === "41") wire.close();
      await wire.closed();
      await eventually(() => emitWithAck(other, "peers", sid), (ids) => ids.length === 0, "still there");
      const again = await engine.openWebsocket();
      again.send(`40${JSON.stringify({ pid, offset })}`);
      assert.equal(json(await again.nextMessage(), "40").sid === sid, isRecovered);
      again.close();
      close(other);
    });
  }
});

suite("oracle-recovery", "what comes before what, in recovery after the server's goodbye", (server) => {
  const engine = new Engine(server);

  test("it cannot be recovered from", async () => {
    const { wire, sid, pid } = await joined(engine, '{"greet":1}');
    const [event, , offset] = json(await wire.nextMessage(), "42");
    assert.equal(event, "hello");
    wire.send('42["bye",true]');
    await wire.closed();
    const { wire: again, ...connected } = await joined(engine, JSON.stringify({ pid, offset }));
    assert.notEqual(connected.sid, sid);
    assert.notEqual(connected.pid, pid);
    again.close();
  });
});

suite("oracle", "what comes before what, at a goodbye", (server) => {
  const engine = new Engine(server);

  test("what was sent before a disconnect comes before it, in one answer", async () => {
    const { sid } = await joinedByPolling(engine);
    await engine.post(sid, '42["bye",false]');
    assert.equal((await engine.poll(sid)).body, '42["last"]\x1e41');
  });

  test("a socket that its connection handler sends away has been connected", async () => {
    for (const isEnd of [false, true]) {
      const wire = await engine.openWebsocket();
      wire.send(`40${JSON.stringify({ greet: "you", join: "hall", bye: isEnd })}`);
      json(await wire.nextMessage(), "40");
      assert.equal(await wire.nextMessage(), '42["hello","you"]');
      assert.equal(await wire.nextMessage(), "41");
      if (isEnd) {
        assert.equal((await wire.closed()).code, 1005);
      } else {
        wire.send("40");
        json(await wire.nextMessage(), "40");
        wire.close();
      }
    }
  });
});

suite(["engine-v4", "--ping-interval", "60000"], "what comes before what, in Engine.IO", (server) => {
  const engine = new Engine(server, "/engine.io/");

  // Ours hands the messages to its handler too, but the session is over by then.
  test("what stands before an undecodable packet in its payload is answered by Node alone", async () => {
    const { sid } = await engine.open();
    const { answer: waiting } = await engine.waitingPoll(sid);
    assert.equal((await engine.post(sid, "4one\x1e4two\x1eabc\x1e4three")).body, "ok");
    assert.equal((await waiting).body, isNode ? "4one" : "1");
    await engine.assertUnknown(sid);
  });
});
