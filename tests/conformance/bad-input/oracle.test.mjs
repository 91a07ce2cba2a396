// What the oracle found (tests/oracle), each difference by itself.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Engine } from "../harness/engine.mjs";
import { Neighbours } from "../harness/neighbours.mjs";
import { frame, OPCODE, RawConnection, RawWebSocket } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

const POST = (sid) => `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: a\r\n`;

suite("clients", "found by the oracle", (server) => {
  const engine = new Engine(server);
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  async function joinedByPolling() {
    const { sid } = await engine.open();
    await engine.post(sid, "40");
    const { body } = await engine.poll(sid);
    return { sid, id: JSON.parse(body.slice(2)).sid };
  }

  describe("HTTP", () => {
    test("old Internet Explorers got no X-XSS-Protection", async () => {
      for (const agent of ["Mozilla/4.0 (compatible;MSIE 8.0)", "Mozilla/5.0 (Windows NT 6.3; Trident/7.0)"]) {
        const headers = { "user-agent": agent };
        const opened = await engine.request("GET", { EIO: 4, transport: "polling" }, { headers });
        const { sid } = JSON.parse(opened.body.slice(1));
        const posted = await engine.post(sid, "40", headers);
        const polled = await engine.poll(sid, { headers });
        for (const answer of [opened, posted, polled]) assert.equal(answer.headers["x-xss-protection"], "0");
        const large = await engine.post(sid, "x".repeat(1_000_001), { ...headers, "transfer-encoding": "chunked" });
        const refused = await engine.poll("nobody", { headers });
        assert.deepEqual([large.status, refused.status], [413, 400]);
        for (const answer of [large, refused]) assert.equal(answer.headers["x-xss-protection"], undefined);
      }
      const { headers } = await engine.request("GET", { EIO: 4, transport: "polling" });
      assert.equal(headers["x-xss-protection"], undefined);
    });
  });

  describe("sessions that end", () => {
    test("a packet that the decoder refuses was a forced server close over polling", async () => {
      const { sid, id } = await joinedByPolling();
      await engine.post(sid, "42{}");
      await engine.poll(sid);
      assert.equal(await neighbours.reasonOf(id), "forced close");
    });

    test("a reset was a transport error over WebSocket", async () => {
      const wire = await RawWebSocket.join(server);
      wire.reset();
      assert.equal(await neighbours.reasonOf(wire.id), "transport close");
    });

    test("a POST without a packet ended a session that was closing", async () => {
      const { sid } = await engine.open();
      await engine.post(sid, '42["too early"]');
      assert.equal((await engine.post(sid, "")).body, "ok");
      assert.equal((await engine.post(sid, "nonsense")).body, "ok");
      assert.equal((await engine.poll(sid)).body, "6\x1e1");
      await engine.assertUnknown(sid);
    });

    test("a form without anything in it ended a JSONP session", async () => {
      const { body } = await engine.request("GET", { EIO: 4, transport: "polling", j: 0 });
      const { sid } = JSON.parse(JSON.parse(/^___eio\[0\]\((.*)\);$/.exec(body)[1]).slice(1));
      assert.equal((await engine.post(sid, "")).body, "ok");
      assert.equal((await engine.post(sid, "d=40", { "content-type": "application/x-www-form-urlencoded" })).body, "ok");
      assert.match((await engine.poll(sid)).body, /^___eio\[0\]\("40/);
    });

    test("a probe outlived the session that its client had closed", async () => {
      const { sid } = await engine.open();
      const wire = engine.websocket({ sid });
      await wire.isOpen;
      await engine.post(sid, "1");
      wire.send("2probe");
      await assert.rejects(wire.next(), /closed \(1005\)/);
    });

    test("a closing session refused a probe, and closed one that was there", async () => {
      for (const isEarly of [false, true]) {
        const { sid } = await joinedByPolling();
        const violate = () => engine.post(sid, "47");
        if (!isEarly) await violate();
        const wire = engine.websocket({ sid });
        await wire.isOpen;
        if (isEarly) await violate();
        wire.send("2probe");
        assert.equal(await wire.next(), "3probe");
        wire.send("5");
        assert.equal((await wire.closed()).code, 1005);
        await engine.assertUnknown(sid);
      }
    });
  });

  describe("frames and packets", () => {
    test("a close frame was answered without its reason", async () => {
      const wire = await RawWebSocket.join(server);
      const payload = Buffer.concat([Buffer.from([0x03, 0xe9]), Buffer.from("bye")]);
      wire.send(frame({ opcode: OPCODE.close, payload }));
      const answer = await wire.next();
      assert.deepEqual([answer.opcode, answer.payload], [OPCODE.close, payload]);
    });

    test("an event in the packet of the goodbye to its namespace closed the connection", async () => {
      const wire = await RawWebSocket.join(server);
      wire.send(frame({ text: "40/admin," }));
      await wire.next();
      const place = '{"_placeholder":true,"num":0}';
      const late = [{ text: '42/admin,["all","never"]' }, { text: `451-/admin,["echo",${place}]` }, { opcode: OPCODE.binary, payload: Buffer.from([1]) }, { text: "41/admin," }];
      wire.send(Buffer.concat([{ text: "41/admin," }, ...late, { text: '427["ack","alive"]' }].map(frame)));
      assert.equal((await wire.next()).text, '437["alive"]');
      wire.send(frame({ text: "40/admin," }));
      assert.match((await wire.next()).text, /^40\/admin,\{"sid"/);
      wire.destroy();
    });

    test("a message without a character was a CONNECT", async () => {
      const wire = await engine.openWebsocket();
      wire.send("4");
      assert.equal((await wire.closed()).code, 1005);
      const { sid } = await engine.open();
      await engine.post(sid, "4");
      assert.equal((await engine.poll(sid)).body, "6\x1e1");
    });
  });
});

suite("clients-v2", "found by the oracle, of older clients", (server) => {
  const engine = new Engine(server);
  const query = { EIO: 3, transport: "polling", b64: 1, j: 0 };

  test("bytes in place of a form ended a JSONP session", async () => {
    const { body } = await engine.request("GET", query);
    const { sid } = JSON.parse(/\{.*?\}/.exec(JSON.parse(/^___eio\[0\]\((.*)\);$/.exec(body)[1]))[0]);
    for (const [type, sent] of [["application/octet-stream", "3"], ["application/x-www-form-urlencoded", "d=1:2"]]) {
      const answer = await engine.request("POST", { ...query, sid }, { body: sent, headers: { "content-type": type } });
      assert.deepEqual([answer.status, answer.body], [200, "ok"]);
    }
  });
});

suite("oracle", "found by the oracle, with a small limit", (server) => {
  const engine = new Engine(server);

  // On several shards a connection moves to the one of its session, and bytes arrive meanwhile.
  test("a body over the limit, sent at once, cut the connection without an answer", async () => {
    const { sid } = await engine.open();
    const body = "x".repeat(60_000);
    for (let round = 0; round < 30; round += 1) {
      const connection = await RawConnection.open(server);
      connection.write(`${POST(sid)}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
      assert.equal((await connection.response()).status, 413);
      connection.destroy();
    }
    assert.equal((await engine.post(sid, "40")).body, "ok");
  });
});
