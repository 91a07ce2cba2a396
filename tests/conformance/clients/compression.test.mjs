// permessage-deflate and compressed polls, through clients that have them: what arrives is whole, and fewer bytes carry it.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { Manager as ManagerV2 } from "socket.io-client-v2";
import WebSocket from "ws";
import { close, connect, connected, crowd, emitWithAck, listen, settle, TRANSPORTS } from "../harness/client.mjs";
import { Inbox, within } from "../harness/inbox.mjs";
import { RawConnection } from "../harness/raw.mjs";
import { isNode, suite } from "../harness/server.mjs";

const WEBSOCKET = TRANSPORTS["WebSocket only"];
const LONG = "somewhat long, and always the same; ".repeat(200);
const agreedOn = (ws) => ws._extensions["permessage-deflate"]?.params;
const agreed = (socket) => agreedOn(socket.io.engine.transport.ws);
const bytesRead = (socket) => socket.io.engine.transport.ws._socket.bytesRead;

/** How many bytes arrive on a WebSocket while this happens. */
async function bytesOf(socket, action) {
  const before = bytesRead(socket);
  await action();
  return bytesRead(socket) - before;
}

for (const [name, forgets] of [["compression", true], ["compression-context", false]]) {
  suite(name, `permessage-deflate, ${forgets ? "contexts forgotten" : "contexts kept"}`, (server) => {
    test("is agreed on with the stock client, and carries every kind of event both ways", async () => {
      const socket = await connect(server, WEBSOCKET);
      const { server_no_context_takeover, client_no_context_takeover } = agreed(socket);
      assert.deepEqual([server_no_context_takeover, client_no_context_takeover], forgets ? [true, true] : [undefined, undefined]);
      const noise = randomBytes(5_000);
      for (let round = 0; round < 3; round += 1) {
        for (const value of ["short", LONG, noise, Buffer.alloc(50_000, "b"), { a: [LONG, noise.subarray(0, 1_023)], b: null }, "€😀".repeat(2_000)]) {
          assert.deepEqual(await emitWithAck(socket, "ack", value), value);
        }
      }
      close(socket);
    });

    test("makes a long event short on the wire", async () => {
      const socket = await connect(server, WEBSOCKET);
      const inbox = listen(socket, "echo");
      const bytes = await bytesOf(socket, async () => {
        socket.emit("echo", LONG);
        assert.deepEqual(await inbox.next(), [LONG]);
      });
      assert.ok(bytes < 300, `${bytes} bytes for ${LONG.length}`);
      close(socket);
    });

    test("a broadcast reaches those who compress and those who do not, on every shard, in order", async () => {
      const deflating = await crowd(server, 9, WEBSOCKET);
      const plain = await crowd(server, 9, { ...WEBSOCKET, perMessageDeflate: false });
      const polling = await crowd(server, 3, TRANSPORTS["polling only"]);
      const everyone = [...deflating, ...plain, ...polling];
      const inboxes = everyone.map((socket) => listen(socket, "news"));
      assert.equal(agreed(plain[0]), undefined);
      for (let round = 0; round < 10; round += 1) deflating[0].emit("all", "news", round, LONG, Buffer.alloc(3_000, round));
      for (const inbox of inboxes) {
        for (let round = 0; round < 10; round += 1) assert.deepEqual(await inbox.next(), [round, LONG, Buffer.alloc(3_000, round)]);
      }
      await settle(everyone);
      assert.ok(inboxes.every(({ size }) => size === 0));
      close(...everyone);
    });

    test("broadcasts and events for one socket take turns", async () => {
      const sockets = await crowd(server, 6, WEBSOCKET);
      const inboxes = sockets.map((socket) => listen(socket, "turn"));
      for (let round = 0; round < 20; round += 1) {
        sockets[0].emit("all", "turn", round, LONG);
        await Promise.all(sockets.map(async (socket, index) => {
          assert.deepEqual(await inboxes[index].next(), [round, LONG]);
          const mine = `${round} ${index} ${LONG}`;
          assert.equal(await emitWithAck(socket, "ack", mine), mine);
        }));
      }
      close(...sockets);
    });

    test("compress(false) keeps an event as it is", { skip: isNode && "without effect on WebSocket in Node" }, async () => {
      const socket = await connect(server, WEBSOCKET);
      const inbox = listen(socket, "plain");
      for (const how of ["socket", "namespace", "operator", "remote"]) {
        const bytes = await bytesOf(socket, async () => {
          socket.emit("plain", how, LONG);
          assert.deepEqual(await inbox.next(), [LONG]);
        });
        assert.ok(bytes > LONG.length, how);
      }
      close(socket);
    });

    test("an upgraded connection has it too", async () => {
      const socket = await connect(server, TRANSPORTS.upgrade);
      assert.ok(agreed(socket));
      assert.equal(await emitWithAck(socket, "ack", LONG), LONG);
      close(socket);
    });

    test("a client of version 2", async () => {
      const manager = new ManagerV2(server.url, { transports: ["websocket"], reconnection: false, perMessageDeflate: { threshold: 0 } });
      const socket = manager.socket("/");
      await within(new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject)), "not connected");
      const inbox = listen(socket, "echo");
      for (const value of [LONG, Buffer.alloc(20_000, 7)]) {
        socket.emit("echo", value);
        assert.deepEqual(await inbox.next(), [value]);
      }
      manager.close();
    });

    describe("as the client offers it", () => {
      const offers = {
        "everything forgotten": { serverNoContextTakeover: true, clientNoContextTakeover: true },
        "nothing said": {},
        "the smallest windows": { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
        "small windows, the server forgetting": { serverMaxWindowBits: 10, clientMaxWindowBits: 12, serverNoContextTakeover: true },
      };
      for (const [what, offer] of Object.entries(offers)) {
        test(what, async () => {
          const socket = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: { threshold: 0, ...offer } });
          const inbox = new Inbox();
          socket.on("message", (data) => inbox.push(data.toString()));
          socket.on("close", (code) => inbox.close(new Error(`closed with ${code}`)));
          assert.match(await inbox.next(), /^0\{/);
          assert.equal(agreedOn(socket).server_max_window_bits, offer.serverMaxWindowBits);
          assert.equal(agreedOn(socket).server_no_context_takeover, forgets || offer.serverNoContextTakeover);
          socket.send("40");
          assert.match(await inbox.next(), /^40\{/);
          for (let round = 0; round < 20; round += 1) {
            const value = JSON.stringify(`${round} ${LONG} ${randomBytes(3_000).toString("base64")}`);
            socket.send(`42["echo",${value}]`);
            assert.equal(await inbox.next(), `42["echo",${value}]`);
          }
          socket.close(1000);
          await within(new Promise((resolve) => socket.once("close", resolve)), "not closed");
        });
      }
    });
  });
}

const OPEN = "/socket.io/?EIO=4&transport=polling";

/** An answer whose body is bytes. */
async function request(server, target, { method = "GET", headers = {}, body = "" } = {}) {
  const wire = await RawConnection.open(server);
  const length = body ? { "Content-Length": Buffer.byteLength(body), "Content-Type": "text/plain;charset=UTF-8" } : {};
  const lines = Object.entries({ Host: "a", Connection: "close", ...length, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  wire.write(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
  const answer = Buffer.from(await wire.ended(), "latin1");
  const headEnd = answer.indexOf("\r\n\r\n");
  const [statusLine, ...fields] = answer.subarray(0, headEnd).toString().split("\r\n");
  const names = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 2)]));
  let bytes = answer.subarray(headEnd + 4);
  if (names["transfer-encoding"] === "chunked") bytes = unchunked(bytes);
  else if (method !== "HEAD") assert.equal(bytes.length, Number(names["content-length"] ?? 0));
  return { status: Number(statusLine.split(" ")[1]), headers: names, bytes };
}

function unchunked(bytes) {
  const parts = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = parseInt(bytes.subarray(at, lineEnd).toString(), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

const decoders = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync };
const textOf = ({ headers, bytes }) => (headers["content-encoding"] ? decoders[headers["content-encoding"]](bytes) : bytes).toString();

suite("compression", "compressed polls", (server) => {
  /** A joined polling session: the target of its requests. */
  async function join() {
    const { bytes } = await request(server, OPEN);
    const target = `${OPEN}&sid=${JSON.parse(bytes.toString().slice(1)).sid}`;
    await request(server, target, { method: "POST", body: "40" });
    await request(server, target);
    return target;
  }

  /** What the next poll answers after this event. */
  async function answerTo(target, event, accepted) {
    await request(server, target, { method: "POST", body: `42${JSON.stringify(event)}` });
    return request(server, target, { headers: accepted === undefined ? {} : { "Accept-Encoding": accepted } });
  }

  const rows = {
    gzip: "gzip",
    deflate: "deflate",
    "gzip, deflate, br": "gzip",
    "deflate, gzip;q=0.5": "deflate",
    "gzip;q=0, deflate;q=0.1": "deflate",
    "*": "gzip",
    br: undefined,
    identity: undefined,
    "gzip;q=0": undefined,
  };
  for (const [accepted, encoding] of [...Object.entries(rows), [undefined, undefined]]) {
    test(`Accept-Encoding: ${accepted ?? "(none)"}`, async () => {
      const answer = await answerTo(await join(), ["echo", LONG], accepted);
      assert.equal(answer.headers["content-encoding"], encoding);
      assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
      assert.equal(answer.headers["cache-control"], "no-store");
      assert.equal(textOf(answer), `42${JSON.stringify(["echo", LONG])}`);
    });
  }

  test("from 1024 bytes on, packets of one answer together", async () => {
    const target = await join();
    const overhead = `42["echo",""]`.length;
    for (const [length, encoding] of [[1_023, undefined], [1_024, "gzip"]]) {
      const answer = await answerTo(target, ["echo", "x".repeat(length - overhead)], "gzip");
      assert.equal(answer.headers["content-encoding"], encoding, String(length));
    }
    await request(server, target, { method: "POST", body: `42${JSON.stringify(["echo", "x".repeat(600)])}` });
    const both = await answerTo(target, ["echo", "y".repeat(600)], "gzip");
    assert.equal(both.headers["content-encoding"], "gzip");
    assert.equal(textOf(both).split("\x1e").length, 2);
  });

  test("not what was sent with compress(false), unless something else is in the answer", async () => {
    const target = await join();
    for (const how of ["socket", "namespace", "operator", "remote"]) {
      const answer = await answerTo(target, ["plain", how, LONG], "gzip");
      assert.equal(answer.headers["content-encoding"], undefined, how);
      assert.equal(textOf(answer), `42${JSON.stringify(["plain", LONG])}`);
    }
    await request(server, target, { method: "POST", body: `42${JSON.stringify(["plain", "socket", LONG])}` });
    assert.equal((await answerTo(target, ["echo", 1], "gzip")).headers["content-encoding"], "gzip");
  });

  test("JSONP and older clients", async () => {
    const script = await request(server, `${OPEN}&j=0`, { headers: { "Accept-Encoding": "gzip" } });
    assert.match(script.bytes.toString(), /^___eio\[0\]\("0\{/, "too short");
    const target = OPEN.replace("EIO=4", "EIO=3");
    const open = (await request(server, target)).bytes.toString();
    const session = `${target}&sid=${/"sid":"([^"]+)"/.exec(open)[1]}`;
    const packet = `42${JSON.stringify(["echo", LONG])}`;
    await request(server, session, { method: "POST", body: `${packet.length}:${packet}` });
    const answer = await request(server, session, { headers: { "Accept-Encoding": "deflate" } });
    assert.equal(answer.headers["content-encoding"], "deflate");
    assert.ok(textOf(answer).endsWith(`${packet.length}:${packet}`));
  });

  test("the stock client polls on as ever", async () => {
    const socket = await connect(server, { ...TRANSPORTS["polling only"], extraHeaders: { "Accept-Encoding": "identity" } });
    assert.equal(await emitWithAck(await connected(socket), "ack", LONG), LONG);
    close(socket);
  });
});

suite("compression", "the client's bundle", (server) => {
  const BUNDLE = "/socket.io/socket.io.min.js";

  test("comes by br, gzip or deflate, in this order", async () => {
    const plain = await request(server, BUNDLE);
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.equal(plain.headers["content-type"], "application/javascript; charset=utf-8");
    assert.equal(plain.headers["cache-control"], "public, max-age=0");
    const etag = plain.headers.etag;
    assert.match(etag, /^"\d+\.\d+\.\d+"$/);
    for (const [accepted, encoding] of [["gzip, deflate, br", "gzip"], ["br, gzip", "br"], ["*", "br"], ["gzip;q=0.5, br;q=0.1", "gzip"], ["deflate", "deflate"]]) {
      const answer = await request(server, BUNDLE, { headers: { "Accept-Encoding": accepted } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["content-encoding"], encoding, accepted);
      assert.equal(answer.headers.etag, etag);
      assert.equal(textOf(answer), plain.bytes.toString());
      assert.ok(answer.bytes.length < plain.bytes.length / 2);
      const known = await request(server, BUNDLE, { headers: { "Accept-Encoding": accepted, "If-None-Match": etag } });
      assert.equal(known.status, 304);
      assert.equal(known.bytes.length, 0);
    }
    assert.equal((await request(server, BUNDLE, { headers: { "If-None-Match": `W/${etag}` } })).status, 304);
    assert.equal((await request(server, BUNDLE, { headers: { "If-None-Match": '"0.0.0"' } })).status, 200);
  });

  test("with its map, and HEAD without a body", async () => {
    const map = await request(server, `${BUNDLE}.map`, { headers: { "Accept-Encoding": "gzip" } });
    assert.equal(map.headers["content-type"], "application/json; charset=utf-8");
    assert.equal(JSON.parse(textOf(map)).version, 3);
    const head = await request(server, BUNDLE, { method: "HEAD", headers: { "Accept-Encoding": "br" } });
    assert.deepEqual([head.status, head.headers["content-encoding"], head.bytes.length], [200, "br", 0]);
  });

  test("whose answer varies with what is accepted says so", { skip: isNode && "Node does not" }, async () => {
    assert.equal((await request(server, BUNDLE)).headers.vary, "Accept-Encoding");
  });
});
