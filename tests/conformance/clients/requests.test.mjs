// CORS, cookie, and the hooks that see requests before a session opens.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connect, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { Engine } from "../harness/engine.mjs";
import { RawConnection, upgradeHead } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

const OPEN = "/socket.io/?EIO=4&transport=polling";

async function request(server, { method = "GET", target = OPEN, headers = {}, body = "" } = {}) {
  const wire = await RawConnection.open(server);
  try {
    return await ask(wire, { method, target, headers, body });
  } finally {
    wire.destroy();
  }
}

function ask(wire, { method = "GET", target = OPEN, headers = {}, body = "" }) {
  const length = body ? { "Content-Length": Buffer.byteLength(body) } : {};
  const lines = Object.entries({ Host: "a", ...length, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  wire.write(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
  return wire.response();
}

async function upgrade(server, options) {
  const wire = await RawConnection.open(server);
  wire.write(upgradeHead(options));
  const answer = await wire.response();
  wire.destroy();
  return answer;
}

const sidOf = (answer) => JSON.parse(answer.body.slice(1)).sid;
const withSid = (answer) => `${OPEN}&sid=${sidOf(answer)}`;

suite("cors", "CORS", (server) => {
  const allowed = { "access-control-allow-origin": "http://a.test", vary: "Origin", "access-control-expose-headers": "X-Shown" };

  function assertHas(answer, fields) {
    for (const [name, value] of Object.entries(fields)) assert.equal(answer.headers[name], value, name);
  }

  test("a preflight is answered with what is allowed", async () => {
    const headers = { Origin: "http://a.test", "Access-Control-Request-Headers": "x-one" };
    const answer = await request(server, { method: "OPTIONS", headers });
    assert.equal(answer.status, 204);
    assertHas(answer, {
      "access-control-allow-origin": "http://a.test",
      vary: "Origin, Access-Control-Request-Headers",
      "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
      "access-control-allow-headers": "x-one",
      "content-length": "0",
    });
  });

  test("handshake, poll, POST, refusal, WebSocket and upgrade carry its fields", async () => {
    const headers = { Origin: "http://a.test" };
    const opened = await request(server, { headers });
    assert.equal(opened.status, 200);
    assertHas(opened, allowed);
    const target = withSid(opened);
    const posted = await request(server, { method: "POST", target, headers, body: "40" });
    assert.deepEqual([posted.status, posted.body], [200, "ok"]);
    assertHas(posted, allowed);
    const polled = await request(server, { target, headers });
    assert.match(polled.body, /^40/);
    assertHas(polled, allowed);
    const refused = await request(server, { target: `${OPEN}&sid=unknown`, headers });
    assert.equal(refused.status, 400);
    assertHas(refused, allowed);
    for (const query of ["EIO=4&transport=websocket", `EIO=4&transport=websocket&sid=${sidOf(opened)}`]) {
      const upgraded = await upgrade(server, { query, headers });
      assert.equal(upgraded.status, 101);
      assertHas(upgraded, allowed);
    }
  });

  test("a preflight from another origin is answered without a permission", async () => {
    const answer = await request(server, { method: "OPTIONS", headers: { Origin: "http://b.test" } });
    assert.deepEqual([answer.status, answer.body], [204, ""]);
    for (const name of ["origin", "credentials"]) assert.equal(answer.headers[`access-control-allow-${name}`], undefined, name);
  });

  test("another origin gets no permission, and an answer", async () => {
    const answer = await request(server, { headers: { Origin: "http://b.test" } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["access-control-allow-origin"], undefined);
    assert.equal(answer.headers.vary, "Origin");
  });
});

suite("cookies", "cookies", (server) => {
  test("a cookie that a hook sets comes beside the session's", async () => {
    const opened = await request(server);
    const session = `io=${sidOf(opened)}; Path=/; HttpOnly; SameSite=Lax`;
    assert.deepEqual(opened.cookies.toSorted(), ["first=1; Path=/a", session]);
    const target = withSid(opened);
    const posted = await request(server, { method: "POST", target, body: "40" });
    assert.deepEqual(posted.cookies, ["later=2"]);
    const polled = await request(server, { target });
    assert.deepEqual([polled.cookies, polled.status], [["later=2"], 200]);
    const upgraded = await upgrade(server, { query: `EIO=4&transport=websocket&sid=${sidOf(opened)}` });
    assert.deepEqual([upgraded.status, upgraded.cookies], [101, ["later=2"]]);
    const direct = await upgrade(server);
    assert.deepEqual([direct.status, direct.cookies], [101, ["first=1; Path=/a"]]);
  });
});

suite("requests", "hooks for requests", (server) => {
  test("a CORS decided per request", async () => {
    for (const [origin, expected] of [["http://x.a.test", "http://x.a.test"], ["http://x.b.test", undefined]]) {
      const answer = await request(server, { headers: { Origin: origin } });
      assert.equal(answer.headers["access-control-allow-origin"], expected);
      assert.equal(answer.headers["access-control-allow-credentials"], expected && "true");
      const preflight = await request(server, { method: "OPTIONS", headers: { Origin: origin } });
      assert.equal(preflight.status, expected ? 204 : 400, "without CORS it is a request of the wrong method");
      assert.equal(preflight.headers["access-control-allow-origin"], expected);
    }
  });

  test("the cookie and the first headers come with the answer that opens a session, the others with every one", async () => {
    const opened = await request(server, { headers: { "x-slow": "1" } });
    assert.equal(opened.status, 200);
    assert.equal(opened.headers["set-cookie"], `io=${sidOf(opened)}; Max-Age=60; Path=/; HttpOnly; SameSite=Lax`);
    assert.deepEqual([opened.headers["x-first"], opened.headers["x-every"], opened.headers["x-middleware"]], ["yes", "yes", "yes"]);
    const target = withSid(opened);
    const wire = await RawConnection.open(server);
    for (const [method, body] of [["POST", "40"], ["GET", ""], ["POST", '42["echo",1]'], ["GET", ""]]) {
      const answer = await ask(wire, { method, target, body, headers: { "x-slow": "1" } });
      assert.equal(answer.status, 200);
      const { "set-cookie": cookie, "x-first": first, "x-every": every, "x-middleware": middleware } = answer.headers;
      assert.deepEqual([cookie, first, every, middleware], [undefined, undefined, "yes", "yes"]);
    }
    wire.destroy();
    const upgraded = await upgrade(server);
    assert.equal(upgraded.status, 101);
    assert.equal(upgraded.headers["set-cookie"], undefined);
    assert.deepEqual([upgraded.headers["x-first"], upgraded.headers["x-every"], upgraded.headers["x-middleware"]], ["yes", "yes", "yes"]);
  });

  test("a session that upgrades gets every header again, and neither the cookie nor the first ones", async () => {
    const opened = await request(server);
    assert.equal(opened.headers["x-first"], "yes");
    const upgraded = await upgrade(server, { query: `EIO=4&transport=websocket&sid=${sidOf(opened)}` });
    const { "set-cookie": cookie, "x-first": first, "x-every": every, "x-middleware": middleware } = upgraded.headers;
    assert.deepEqual([upgraded.status, cookie, first, every, middleware], [101, undefined, undefined, "yes", "yes"]);
  });

  test("what a middleware lets pass is bounded as ever: a POST over the limit is a 413, and the session lives on", async () => {
    const target = withSid(await request(server));
    for (const headers of [{}, { "x-slow": "1" }]) {
      const large = await request(server, { method: "POST", target, headers, body: `4${"x".repeat(1_000_000)}` });
      assert.deepEqual([large.status, large.body], [413, ""]);
    }
    assert.equal((await request(server, { method: "POST", target, body: "40" })).body, "ok");
    assert.match((await request(server, { target })).body, /^40/);
  });

  test("what is refused is told with its code and its cause, over either transport", async () => {
    const socket = await connect(server);
    const before = (await emitWithAck(socket, "refusals")).length;
    const { sid } = JSON.parse((await request(server)).body.slice(1));
    assert.equal((await request(server, { target: `${OPEN}&id=fail` })).status, 400);
    const failed = new Engine(server).websocket({ id: "fail" });
    await assert.rejects(failed.next(), "no session without an id");
    await failed.closed();
    for (const query of ["", `&sid=${sid}`]) {
      assert.equal((await request(server, { target: `/socket.io/?EIO=4&transport=websocket${query}` })).status, 400);
    }
    const refusals = (await emitWithAck(socket, "refusals")).slice(before);
    assert.deepEqual(refusals.map(([code, cause]) => [code, cause]), [
      [3, "ID_GENERATION_ERROR"],
      [3, "ID_GENERATION_ERROR"],
      [3, "TRANSPORT_HANDSHAKE_ERROR"],
      [3, "TRANSPORT_MISMATCH"],
    ]);
    close(socket);
  });

  test("a middleware ends a request of any kind", async () => {
    const headers = { "x-end": "not here" };
    const opened = await request(server);
    for (const [method, target, body] of [["GET", OPEN, ""], ["POST", withSid(opened), "40"], ["GET", "/socket.io/?nonsense", ""]]) {
      const answer = await request(server, { method, target, body, headers });
      assert.deepEqual([answer.status, answer.headers["x-ended"], answer.body], [401, "yes", "not here"]);
    }
    // Node ends such a connection without a word, because nothing of Express reaches its raw socket.
    for (const query of ["EIO=4&transport=websocket", `EIO=4&transport=websocket&sid=${sidOf(opened)}`]) {
      const refused = await upgrade(server, { query, headers }).catch(() => ({ status: "none" }));
      assert.ok([401, "none"].includes(refused.status), refused.status);
    }
    const posted = await request(server, { method: "POST", target: withSid(opened), body: "40" });
    assert.equal(posted.status, 200, "the session has not noticed");
  });

  test("a middleware that fails refuses its request", async () => {
    const answer = await request(server, { headers: { "x-end": "panic" } });
    assert.deepEqual([answer.status, answer.body], [400, '{"code":3,"message":"Bad request"}']);
    const refused = await upgrade(server, { headers: { "x-end": "panic" } });
    assert.equal(refused.status, 400);
    assert.equal((await request(server)).status, 200);
  });

  test("a handshake is refused in the operator's words: 403 over polling, 400 over WebSocket", async () => {
    for (const slow of [{}, { "x-slow": "1" }]) {
      const headers = { "x-refuse": "not today", ...slow };
      const polling = await request(server, { headers });
      assert.deepEqual([polling.status, polling.body], [403, '{"code":4,"message":"not today"}']);
      const socket = await upgrade(server, { headers });
      assert.deepEqual([socket.status, socket.headers["content-type"], socket.body], [400, "text/html", "not today"]);
    }
    const opened = await request(server);
    const posted = await request(server, { method: "POST", target: withSid(opened), headers: { "x-refuse": "x" }, body: "40" });
    assert.equal(posted.status, 200, "only handshakes are asked about");
    const upgrading = await upgrade(server, { query: `EIO=4&transport=websocket&sid=${sidOf(opened)}`, headers: { "x-refuse": "x" } });
    assert.equal(upgrading.status, 101, "an upgrade is none");
  });

  test("sessions are called as the operator wants", async () => {
    const id = `room-${Date.now()}`;
    assert.equal(id.length, 18);
    const opened = await request(server, { target: `${OPEN}&id=${id}` });
    assert.equal(sidOf(opened).slice(0, 18), id);
    assert.equal(sidOf(opened).length, 20);
    const posted = await request(server, { method: "POST", target: withSid(opened), body: "40" });
    assert.equal(posted.status, 200);
    assert.match((await request(server, { target: withSid(opened) })).body, /^40/);
    const texts = ["7", "user:7 ä😀?&", "x".repeat(198)];
    for (const [index, text] of texts.entries()) {
      const opened = await request(server, { target: `${OPEN}&id=${encodeURIComponent(text)}` });
      const sid = sidOf(opened);
      assert.deepEqual([sid.slice(0, -2), opened.headers["set-cookie"].includes(encodeURIComponent(sid))], [text, true]);
      const target = `${OPEN}&sid=${encodeURIComponent(sid)}`;
      for (let count = 0; count < 4; count += 1) {
        assert.equal((await request(server, { method: "POST", target, body: "3" })).status, 200, "from whatever shard");
      }
      await request(server, { method: "POST", target, body: "40" });
      assert.match((await request(server, { target })).body, /^40/);
      if (index === 0) {
        await request(server, { method: "POST", target, body: "1" });
        const again = await request(server, { target: `${OPEN}&id=${text}` });
        assert.equal(sidOf(again).slice(0, -2), text, "an id is free when its session is gone");
      }
    }
    const failed = await request(server, { target: `${OPEN}&id=fail` });
    assert.deepEqual([failed.status, failed.body], [400, '{"code":3,"message":"Bad request"}']);
  });

  test("a client that leaves while its request waits disturbs nobody", async () => {
    for (let count = 0; count < 10; count += 1) {
      const wire = await RawConnection.open(server);
      wire.write(`GET ${OPEN} HTTP/1.1\r\nHost: a\r\nx-slow: 1\r\n\r\n`);
      wire.destroy();
    }
    assert.equal((await request(server, { headers: { "x-slow": "1" } })).status, 200);
  });

  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("the official client connects through all of it, and refusals are told", async () => {
        const socket = await connect(server, { ...transport, extraHeaders: { "x-slow": "1" } });
        const echo = listen(socket, "echo");
        socket.emit("echo", "back", 1);
        assert.deepEqual(await echo.next(), ["back", 1]);
        const before = (await emitWithAck(socket, "refusals")).length;
        await request(server, { target: `${OPEN}&sid=unknown` });
        await request(server, { target: "/socket.io/?EIO=4&transport=pigeon" });
        await request(server, { headers: { "x-refuse": "told" } });
        await request(server, { target: "/socket.io/?EIO=3&transport=polling" });
        const old = new Engine(server).websocket({ EIO: 3 });
        await assert.rejects(old.next(), "no session of an older protocol");
        const refusals = (await emitWithAck(socket, "refusals")).slice(before);
        assert.deepEqual(refusals.map(([code]) => code), [1, 0, 4, 5, 5]);
        assert.equal(refusals[2][2], "told");
        close(socket);
      });
    });
  }
});
