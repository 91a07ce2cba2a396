// What the Engine.IO protocol asks of any server, whichever path it serves; used by both protocol suites.
//
// The server must ping every 300 ms and wait 20 s for the pong; for `silences` 200 ms.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused } from "../harness/engine.mjs";
import { inTime } from "../harness/inbox.mjs";

const OPEN_KEYS = ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"];

export function handshakes(engine) {
  test("polling: GET without sid opens a session", async () => {
    const { status, headers, body } = await engine().request("GET", { EIO: 4, transport: "polling" });
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(body[0], "0");
    const open = JSON.parse(body.slice(1));
    assert.deepEqual(Object.keys(open), OPEN_KEYS);
    assert.match(open.sid, /^[\w-]{20}$/);
    assert.deepEqual({ ...open, sid: "" }, { sid: "", upgrades: ["websocket"], pingInterval: 300, pingTimeout: 20_000, maxPayload: 1_000_000 });
  });

  test("polling: EIO absent, 3 or nonsense is an unsupported protocol", async () => {
    for (const query of [{}, { EIO: 3 }, { EIO: "abc" }]) {
      const answer = await engine().request("GET", { ...query, transport: "polling" });
      assertRefused(answer, 400, 5, "Unsupported protocol version");
    }
  });

  test("polling: a transport the server does not have is refused", async () => {
    for (const query of [{}, { transport: "abc" }, { transport: "constructor" }, { transport: "__proto__" }]) {
      assertRefused(await engine().request("GET", { EIO: 4, ...query }), 400, 0, "Transport unknown");
    }
  });

  test("polling: a handshake is a GET", async () => {
    for (const method of ["POST", "PUT"]) {
      const answer = await engine().request(method, { EIO: 4, transport: "polling" });
      assertRefused(answer, 400, 2, "Bad handshake method");
    }
  });

  test("WebSocket: the first frame opens a session", async () => {
    const wire = await engine().openWebsocket();
    assert.deepEqual(Object.keys(wire.handshake), OPEN_KEYS);
    assert.match(wire.handshake.sid, /^[\w-]{20}$/);
    assert.deepEqual(wire.handshake.upgrades, []);
    wire.close();
  });

  test("WebSocket: EIO absent, 3 or nonsense opens no session", async () => {
    for (const EIO of ["", "3", "abc"]) {
      const wire = engine().websocket({ EIO });
      await assert.rejects(wire.next());
      await wire.closed();
    }
  });

  test("WebSocket: a transport the server does not have is refused", async () => {
    for (const transport of ["", "abc", "__proto__"]) {
      await assert.rejects(engine().websocket({ transport }).isOpen, /400/);
    }
    const answer = await engine().request("GET", { EIO: 4, transport: "websocket" });
    assertRefused(answer, 400, 3, "Bad request");
  });
}

export function heartbeats(engine) {
  test("polling: pings go on as long as pongs come", async () => {
    const { sid } = await engine().open();
    for (let beat = 0; beat < 3; beat += 1) {
      const { status, body } = await engine().poll(sid);
      assert.equal(status, 200);
      assert.equal(body, "2");
      assert.equal((await engine().post(sid, "3")).body, "ok");
    }
  });

  test("WebSocket: pings go on as long as pongs come", async () => {
    const wire = await engine().openWebsocket();
    for (let beat = 0; beat < 3; beat += 1) {
      assert.equal(await wire.next(), "2");
      wire.send("3");
    }
    wire.close();
  });
}

export function silences(engine) {
  test("the times are those that the official suites ask for", async () => {
    const { pingInterval, pingTimeout, maxPayload } = await engine().open();
    assert.deepEqual({ pingInterval, pingTimeout, maxPayload }, { pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 });
  });

  test("polling: a session without pongs is closed", async () => {
    const sid = await inTime(async () => {
      const { sid } = await engine().open();
      const { status, body } = await engine().poll(sid);
      // Closed already: too late for the ping.
      if (status === 400) return undefined;
      assert.equal(body, "2");
      return sid;
    }, "no ping came");
    // A GET that still found the session is answered with the close, a later one does not find it.
    const { status, body } = await engine().poll(sid);
    assert.ok((status === 200 && body === "1") || status === 400, `${status} ${body}`);
    await engine().assertUnknown(sid);
  });

  test("WebSocket: a session without pongs is closed", async () => {
    const wire = await engine().openWebsocket();
    assert.equal(await wire.next(), "2");
    await wire.closed();
  });

  test("WebSocket: a close packet ends the session, at the next heartbeat at the latest", async () => {
    const wire = await engine().openWebsocket();
    wire.send("1");
    await wire.closed();
  });
}

export function closes(engine) {
  test("polling: a close packet ends the session and the waiting GET", async () => {
    const { sid } = await engine().open();
    const { answer } = await engine().waitingPoll(sid);
    assert.equal((await engine().post(sid, "1")).body, "ok");
    assert.deepEqual(await answer.then(({ status, body }) => ({ status, body })), { status: 200, body: "6" });
    await engine().assertUnknown(sid);
  });
}

export function upgrades(engine) {
  test("polling becomes WebSocket by probe, noop and upgrade", async () => {
    const { sid } = await engine().open();
    const wire = await upgrade(engine(), sid);
    assert.equal(await wire.next(), "2");
    wire.send("3");
    assert.equal(await wire.next(), "2");
    wire.close();
  });

  test("polling requests after the upgrade are refused, and the session lives on", async () => {
    const { sid } = await engine().open();
    const wire = await upgraded(engine(), sid);
    assertRefused(await engine().poll(sid), 400, 3, "Bad request");
    assertRefused(await engine().post(sid, "3"), 400, 3, "Bad request");
    assert.equal(await wire.next(), "2");
    wire.close();
  });

  test("a second WebSocket for an upgraded session is closed, and the session lives on", async () => {
    const { sid } = await engine().open();
    const wire = await upgraded(engine(), sid);
    const second = engine().websocket({ sid });
    await second.closed();
    assert.equal(await wire.next(), "2");
    wire.close();
  });
}

/** Probes as a client does: the GET of the time is released by a noop before the upgrade is asked for. */
export async function upgrade(engine, sid) {
  const wire = engine.websocket({ sid });
  await wire.isOpen;
  wire.send("2probe");
  assert.equal(await wire.next(), "3probe");
  const { status, body } = await engine.poll(sid);
  assert.equal(status, 200);
  for (const packet of body.split("\x1e")) assert.ok(packet === "6" || packet === "2", packet);
  wire.send("5");
  if (body.includes("2")) wire.send("3");
  return wire;
}

/** The same, and the server has read the upgrade packet, which another connection may overtake: a ping comes over the WebSocket. */
async function upgraded(engine, sid) {
  const wire = await upgrade(engine, sid);
  assert.equal(await wire.next(), "2");
  wire.send("3");
  return wire;
}
