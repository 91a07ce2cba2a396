// Socket.IO protocol, revision 5: the 32 behaviours that its own test suite asks for, in our words.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Engine } from "../harness/engine.mjs";
import { inTime } from "../harness/inbox.mjs";
import { PATIENT, suite } from "../harness/server.mjs";
import { closes, handshakes, heartbeats, silences, upgrades } from "./engine-behaviours.mjs";

suite(["socketio-v5", ...PATIENT], "Socket.IO v5", (server) => {
  const engine = () => new Engine(server);

  describe("handshake", () => handshakes(engine));
  describe("heartbeat", () => heartbeats(engine));
  describe("upgrade", () => upgrades(engine));

  /** Sends CONNECT; the answer has the key `sid` only, and the first event is `auth` with what was sent. */
  async function join(wire, namespace = "", auth = undefined) {
    const prefix = namespace && `${namespace},`;
    wire.send(`40${prefix}${auth ? JSON.stringify(auth) : ""}`);
    const answer = await wire.nextMessage();
    assert.ok(answer.startsWith(`40${prefix}{`), answer);
    const handshake = JSON.parse(answer.slice(2 + prefix.length));
    assert.deepEqual(Object.keys(handshake), ["sid"]);
    assert.match(handshake.sid, /^[\w-]{20}$/);
    assert.notEqual(handshake.sid, wire.handshake.sid);
    const event = await wire.nextMessage();
    assert.ok(event.startsWith(`42${prefix}[`), event);
    assert.deepEqual(JSON.parse(event.slice(2 + prefix.length)), ["auth", auth ?? {}]);
  }

  describe("connect", () => {
    for (const [where, namespace] of [["the main namespace", ""], ["a custom namespace", "/custom"]]) {
      test(`to ${where}`, async () => {
        const wire = await engine().openWebsocket();
        await join(wire, namespace);
        wire.close();
      });

      test(`to ${where} with a payload`, async () => {
        const wire = await engine().openWebsocket();
        await join(wire, namespace, { token: "123", nested: { list: [1, null] } });
        wire.close();
      });
    }

    test("to an unknown namespace is answered with an error, and the connection stays", async () => {
      const wire = await engine().openWebsocket();
      wire.send("40/random");
      assert.equal(await wire.nextMessage(), '44/random,{"message":"Invalid namespace"}');
      await join(wire);
      wire.close();
    });

    test("with an event instead of a CONNECT closes the connection", async () => {
      const wire = await engine().openWebsocket();
      wire.send('42["message"]');
      await wire.closed();
    });
  });

  describe("disconnect", () => {
    test("from the main namespace leaves the connection open", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      wire.send("41");
      assert.equal(await wire.next(), "2");
      wire.close();
    });

    test("from a custom namespace leaves the others alone", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      await join(wire, "/custom");
      wire.send("41/custom");
      wire.send('42["message","still here"]');
      assert.equal(await wire.nextMessage(), '42["message-back","still here"]');
      wire.close();
    });
  });

  describe("messages", () => {
    test("an event comes back", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      wire.send('42["message",1,"2",{"3":[true,null]},"é€😀"]');
      assert.equal(await wire.nextMessage(), '42["message-back",1,"2",{"3":[true,null]},"é€😀"]');
      wire.close();
    });

    test("an event with attachments comes back, its frames in order", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      const [first, second] = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];
      const place = (num) => `{"_placeholder":true,"num":${num}}`;
      wire.send(`452-["message",${place(0)},[${place(1)}]]`);
      wire.send(first);
      wire.send(second);
      assert.equal(await wire.nextMessage(), `452-["message-back",${place(0)},[${place(1)}]]`);
      assert.deepEqual(await wire.next(), first);
      assert.deepEqual(await wire.next(), second);
      wire.close();
    });

    test("an event with an id is acknowledged", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      wire.send('42456["message-with-ack",1,"2",{"3":[false]}]');
      assert.equal(await wire.nextMessage(), '43456[1,"2",{"3":[false]}]');
      wire.send('420["message-with-ack"]');
      assert.equal(await wire.nextMessage(), "430[]");
      wire.close();
    });

    test("an event with attachments and an id is acknowledged with attachments", async () => {
      const wire = await engine().openWebsocket();
      await join(wire);
      wire.send('451-789["message-with-ack",{"_placeholder":true,"num":0}]');
      wire.send(Buffer.from([7, 8, 9]));
      assert.equal(await wire.nextMessage(), '461-789[{"_placeholder":true,"num":0}]');
      assert.deepEqual(await wire.next(), Buffer.from([7, 8, 9]));
      wire.close();
    });
  });

  describe("invalid packets close the connection", () => {
    const invalid = {
      "unknown type": ["4abc", "47", "4é"],
      "unusable payload": ['42{}', '42["message"', '43{}', "42[]"],
      "unusable ack id": ['42-1["message"]', '421.5["message"]', '42abc["message-with-ack",1]'],
    };
    for (const [what, packets] of Object.entries(invalid)) {
      test(what, async () => {
        for (const packet of packets) {
          const wire = await engine().openWebsocket();
          await join(wire);
          wire.send(packet);
          await wire.closed();
        }
      });
    }
  });
});

suite(["socketio-v5", "--ping-timeout", "20000"], "Socket.IO v5, joining nothing", (server) => {
  test("must happen within the connect timeout", async () => {
    await inTime(async () => {
      const wire = await new Engine(server).openWebsocket();
      let pings = 0;
      const beating = (async () => {
        for (;;) {
          assert.equal(await wire.next(), "2");
          wire.send("3");
          pings += 1;
        }
      })();
      await wire.closed();
      await assert.rejects(beating, /was closed/);
      // The timeout of 1000 ms has room for at least one, unless the server was held up.
      return pings >= 1 || undefined;
    }, "it did not live on heartbeats until the timeout");
  });
});

// A GET that waits is not to be answered with a ping.
suite(["socketio-v5", ...PATIENT, "--ping-interval", "60000"], "Socket.IO v5, between pings", (server) => {
  closes(() => new Engine(server));
});

suite(["socketio-v5", "--connect-timeout", "45000"], "Socket.IO v5, without pongs", (server) => {
  silences(() => new Engine(server));
});
