// Engine.IO protocol, revision 4: the 25 behaviours that its own test suite asks for, in our words.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isLeft } from "../harness/arrival.mjs";
import { Engine } from "../harness/engine.mjs";
import { PATIENT, suite } from "../harness/server.mjs";
import { closes, handshakes, heartbeats, silences, upgrades } from "./engine-behaviours.mjs";

suite(["engine-v4", ...PATIENT], "Engine.IO v4", (server) => {
  const engine = () => new Engine(server, "/engine.io/");

  describe("handshake", () => handshakes(engine));
  describe("heartbeat", () => heartbeats(engine));
  describe("upgrade", () => upgrades(engine));

  describe("messages over WebSocket", () => {
    test("text comes back", async () => {
      const wire = await engine().openWebsocket();
      wire.send("4hello €");
      assert.equal(await wire.nextMessage(), "4hello €");
      wire.send("4");
      assert.equal(await wire.nextMessage(), "4");
      wire.close();
    });

    test("binary comes back as binary, with no type byte", async () => {
      const wire = await engine().openWebsocket();
      wire.send(Buffer.from([1, 2, 3, 4]));
      assert.deepEqual(await wire.nextMessage(), Buffer.from([1, 2, 3, 4]));
      wire.close();
    });

    test("an undecodable packet closes the session", async () => {
      const wire = await engine().openWebsocket();
      wire.send("abc");
      assert.equal((await wire.closed()).code, 1005);
    });
  });
});

// A GET that waits is not to be answered with a ping.
suite(["engine-v4", ...PATIENT, "--ping-interval", "60000"], "Engine.IO v4, between pings", (server) => {
  const engine = () => new Engine(server, "/engine.io/");

  describe("close", () => closes(engine));

  describe("messages over polling", () => {
    test("one text packet comes back", async () => {
      const { sid } = await engine().open();
      const posted = await engine().post(sid, "4hello €");
      assert.deepEqual([posted.status, posted.headers["content-type"], posted.body], [200, "text/html", "ok"]);
      const polled = await engine().poll(sid);
      assert.deepEqual([polled.status, polled.body], [200, "4hello €"]);
      assert.equal(polled.headers["content-type"], "text/plain; charset=UTF-8");
      assert.equal(polled.headers["content-length"], String(Buffer.byteLength("4hello €")));
    });

    test("several text packets come back in order", async () => {
      const { sid } = await engine().open();
      await engine().post(sid, "4one\x1e4two\x1e4three");
      assert.equal((await engine().poll(sid)).body, "4one\x1e4two\x1e4three");
    });

    test("text and binary packets come back in order", async () => {
      const { sid } = await engine().open();
      await engine().post(sid, "4one\x1ebAQIDBA==\x1e4two");
      assert.equal((await engine().poll(sid)).body, "4one\x1ebAQIDBA==\x1e4two");
    });

    test("an undecodable packet closes the session", async () => {
      const { sid } = await engine().open();
      // The POST itself was a sound HTTP request.
      assert.deepEqual(await engine().post(sid, "abc").then(({ status, body }) => [status, body]), [200, "ok"]);
      await engine().assertUnknown(sid);
    });

    test("a second GET beside a waiting one closes the session", async () => {
      const { sid } = await engine().open();
      const { answer: first } = await engine().waitingPoll(sid);
      const second = await engine().poll(sid);
      assert.deepEqual([second.status, second.body], [400, ""]);
      assert.deepEqual(await first.then(({ status, body }) => [status, body]), [200, "1"]);
      await engine().assertUnknown(sid);
    });

    test("a GET that the client gives up closes the session", async () => {
      const { sid } = await engine().open();
      const abort = new AbortController();
      const { answer, port } = await engine().waitingPoll(sid, { signal: abort.signal });
      abort.abort();
      await assert.rejects(answer, { name: "AbortError" });
      await isLeft(server, port);
      await engine().assertUnknown(sid);
    });
  });
});

suite("engine-v4", "Engine.IO v4, without pongs", (server) => {
  silences(() => new Engine(server, "/engine.io/"));
});
