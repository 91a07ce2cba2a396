// Malformed Engine.IO and Socket.IO packets close their own connection, with the reasons that the Node server gives.
//
// The same packets over WebSocket and in a POST. Over polling the answer to the POST is 200 `ok` all the same: it was a
// sound HTTP request.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Engine } from "../harness/engine.mjs";
import { Neighbours } from "../harness/neighbours.mjs";
import { frame, OPCODE, RawWebSocket } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

const binary = (...bytes) => Buffer.from(bytes);
const PLACE = '{"_placeholder":true,"num":0}';

// Packets of one connection that has joined "/"; buffers are binary messages.
const ENGINE_ERRORS = {
  "an unknown packet type": ["9"],
  "a packet of letters": ["abc"],
  "a character of several bytes": ["€"],
  "an empty packet": [""],
};
const HEARTBEAT_ERRORS = {
  "a ping, which is the server's to send": ["2"],
};
const VIOLATIONS = {
  "an unknown type": ["47"],
  "a type that is no digit": ["4x"],
  "an event that is not JSON": ["42woooot"],
  "an event that is cut off": ['42["ack",1'],
  "an event with something behind it": ['42["ack",1]]'],
  "an event that is an object": ["42{}"],
  "an event without a name": ["42[]"],
  "an event named null": ["42[null]"],
  "an event named by a list": ['42[["ack"]]'],
  "an event named connect": ['42["connect"]'],
  "an event named connect_error": ['42["connect_error"]'],
  "an event named disconnect": ['42["disconnect"]'],
  "an event named disconnecting": ['42["disconnecting"]'],
  "an event named newListener": ['42["newListener"]'],
  "an event named removeListener": ['42["removeListener"]'],
  "a disconnect with a payload": ["41{}"],
  "an ack that is an object": ["431{}"],
  "an ack id below zero": ['42-1["ack",1]'],
  "an ack id with a fraction": ['421.5["ack",1]'],
  "a connect error, which is the server's to send": ['44{"message":"no"}'],
  "a second connect": ["40"],
  "a connect with a list": ["40/admin,[]"],
  "a connect with a text": ['40/admin,"token"'],
  "a connect with null": ["40/admin,null"],
  "an event for a namespace not joined": ['42/admin,["ack",1]'],
  "an ack for a namespace not joined": ["43/admin,1[]"],
  "a disconnect from a namespace not joined": ["41/admin,"],
  "an event for a namespace without its comma": ['42/["ack",1]'],
  "attachments without a count": ['45["bin",1]'],
  "attachments and nothing else": ["45"],
  "an attachment count of letters": ['45x-["bin",1]'],
  "an attachment count without its dash": ['451["bin",1]'],
  "an attachment count of zero": ['450-["bin",1]'],
  "an attachment count of eleven": ['4511-["bin",1]'],
  "an attachment count beyond all numbers": ['4599999999999999999999999999-["bin",1]'],
  "an attachment nobody announced": [binary(1, 2, 3)],
  "text where an attachment should come": [`451-["bin",${PLACE}]`, '42["ack",1]'],
  "an attachment too many": [`451-["bin",${PLACE}]`, binary(1), binary(2)],
  "a placeholder out of range": ['451-["bin",{"_placeholder":true,"num":1}]', binary(1)],
  "a placeholder below zero": ['451-["bin",{"_placeholder":true,"num":-1}]', binary(1)],
  "a placeholder that is no number": ['451-["bin",{"_placeholder":true,"num":"0"}]', binary(1)],
};
// Packets that look wrong and are not; `7["alive"]` is asked after each.
const SOUND = {
  "an event without anything, which nobody hears": ["42"],
  "an event named by a number": ["42[1,2]"],
  "an ack nobody waits for": ["43999[1]"],
  "an ack without an id": ["43[]"],
  "attachments without a placeholder": ['451-["none",1]', binary(1)],
  "spaces where JSON has them": ['42[ "none" , { "a" : [ 1 ] } ]'],
  "a name as old as JavaScript": ['42["__proto__",{"__proto__":{"a":1}}]'],
  "a placeholder twice": [`451-["none",${PLACE},${PLACE}]`, binary(1)],
};

suite("clients", "bad packets", (server) => {
  const engine = new Engine(server);
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  async function overWebsocket(packets) {
    const wire = await RawWebSocket.join(server);
    for (const packet of packets) {
      wire.send(typeof packet === "string" ? frame({ text: packet }) : frame({ payload: packet, opcode: OPCODE.binary }));
    }
    return wire;
  }

  async function joinedByPolling() {
    const { sid } = await engine.open();
    await engine.post(sid, "40");
    const { body } = await engine.poll(sid);
    return { sid, id: JSON.parse(body.slice(2)).sid };
  }

  const payload = (packets) => packets.map((packet) => (typeof packet === "string" ? packet : `b${packet.toString("base64")}`)).join("\x1e");

  async function assertPollingEnds(packets, reasons) {
    const { sid, id } = await joinedByPolling();
    const { status, body } = await engine.post(sid, payload(packets));
    assert.deepEqual([status, body], [200, "ok"]);
    // The close waits for a GET, or the session is gone already.
    const next = await engine.poll(sid);
    if (next.status === 200) assert.equal(next.body.split("\x1e").at(-1), "1");
    const reason = await neighbours.reasonOf(id);
    assert.ok(reasons.includes(reason), reason);
    await engine.assertUnknown(sid);
  }

  async function assertWebsocketEnds(packets, reason) {
    const wire = await overWebsocket(packets);
    assert.equal(await wire.closeCode(), 1005);
    assert.equal(await neighbours.reasonOf(wire.id), reason);
  }

  const tables = [
    ["Engine.IO", ENGINE_ERRORS, "parse error", ["parse error"]],
    ["heartbeats", HEARTBEAT_ERRORS, "transport error", ["transport error"]],
    // Over polling Node says one when the decoder complains and the other when the state does.
    ["Socket.IO", VIOLATIONS, "forced close", ["forced close", "forced server close"]],
  ];
  for (const [protocol, table, reason, reasonsPolling] of tables) {
    describe(`${protocol}: over WebSocket, ${reason}`, () => {
      for (const [what, packets] of Object.entries(table)) {
        test(what, () => assertWebsocketEnds(packets, reason));
      }
    });
    describe(`${protocol}: over polling, ${reasonsPolling.join(" or ")}`, () => {
      for (const [what, packets] of Object.entries(table)) {
        test(what, () => assertPollingEnds(packets, reasonsPolling));
      }
    });
  }

  describe("odd but sound", () => {
    for (const [what, packets] of Object.entries(SOUND)) {
      test(`${what} (WebSocket)`, async () => {
        const wire = await overWebsocket(packets);
        wire.send(frame({ text: '427["ack","alive"]' }));
        assert.equal((await wire.next()).text, '437["alive"]');
        wire.destroy();
      });

      test(`${what} (polling)`, async () => {
        const { sid } = await joinedByPolling();
        await engine.post(sid, payload([...packets, '427["ack","alive"]']));
        assert.equal((await engine.poll(sid)).body, '437["alive"]');
      });
    }

    // Node reads ids as floating point; a whole number that does not fit may as well be refused.
    test("an ack id beyond 2^53 is taken or closes the connection", async () => {
      const wire = await overWebsocket(['42299999999999999999999["ack",1]']);
      const { opcode, text } = await wire.next();
      if (opcode !== OPCODE.close) assert.match(text, /^43\d+\[1\]$/);
      wire.destroy();
    });

    test("an event in the same POST as the disconnect behind it is not heard", async () => {
      // The neighbours would hear it.
      for (const event of ['42["all","echo","never"]', `451-["all","echo",${PLACE}]\x1ebAQ==`]) {
        const { sid, id } = await joinedByPolling();
        await engine.post(sid, `${event}\x1e41`);
        assert.equal(await neighbours.reasonOf(id), "client namespace disconnect");
      }
    });

    test("an attachment in base64 may be of either alphabet and without padding", async () => {
      for (const text of ["+/8A", "-_8A", "+/8AAQ==", "+/8AAQ", "+ / 8 A"]) {
        const { sid } = await joinedByPolling();
        await engine.post(sid, `451-7["ack",${PLACE}]\x1eb${text}`);
        const expected = `461-7[${PLACE}]\x1eb${Buffer.from(text, "base64").toString("base64")}`;
        assert.equal((await engine.poll(sid)).body, expected);
      }
    });
  });

  describe("before anything is joined", () => {
    const rows = { "an event": '42["ack",1]', "an ack": "431[]", "a disconnect": "41", "a connect error": '44{"message":"no"}', "nothing sound": "4x" };
    for (const [what, packet] of Object.entries(rows)) {
      test(`${what} closes a WebSocket`, async () => {
        const wire = await engine.openWebsocket();
        wire.send(packet);
        assert.equal((await wire.closed()).code, 1005);
        await engine.assertUnknown(wire.handshake.sid);
      });

      test(`${what} closes a polling session`, async () => {
        const { sid } = await engine.open();
        assert.equal((await engine.post(sid, packet)).body, "ok");
        const next = await engine.poll(sid);
        if (next.status === 200) assert.equal(next.body.split("\x1e").at(-1), "1");
        await engine.assertUnknown(sid);
      });
    }
  });

  // Engine.IO has delivered what comes before it (`protocol/sequence`), but no socket is left to hear it.
  test("an event in the same POST as a bad packet behind it is not heard", async () => {
    const { sid, id } = await joinedByPolling();
    await engine.post(sid, '42["all","echo","never"]\x1eabc');
    assert.equal(await neighbours.reasonOf(id), "parse error");
    await engine.assertUnknown(sid);
  });
});
