// Malformed and misplaced HTTP gets the Node server's answer, and the neighbours notice nothing.
//
// Where Node's answer is an accident of its HTTP parser, or another one is as good, the row lists both.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { isLeft } from "../harness/arrival.mjs";
import { assertRefused, Engine } from "../harness/engine.mjs";
import { Neighbours } from "../harness/neighbours.mjs";
import { eventually } from "../harness/inbox.mjs";
import { frame, RawConnection, upgradeHead } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

const PAYLOAD_MAX = 1_000_000;
const OPEN = "/socket.io/?EIO=4&transport=polling";

suite("clients", "bad HTTP", (server) => {
  const engine = new Engine(server);
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  describe("what is no HTTP request is answered once, and the connection ended", () => {
    const post = (headers, body = "") => `POST ${OPEN} HTTP/1.1\r\nHost: a\r\n${headers}\r\n${body}`;
    const get = (headers) => `GET ${OPEN} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
    const rows = {
      "no request line": ["hello\r\n\r\n", [400]],
      "binary noise": [Buffer.from([0, 255, 3, 13, 10, 13, 10, 200]), [400]],
      "a TLS greeting": [Buffer.from("1603010200010001fc0303", "hex"), [400]],
      "a method of control characters": ["G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", [400]],
      "HTTP version 9": [`GET ${OPEN} HTTP/9.9\r\nHost: a\r\n\r\n`, [400, 505]],
      "a header without a colon": [get("no colon here\r\n"), [400]],
      "a header name with a space": [get("bad name: 1\r\n"), [400]],
      "a header value with a NUL": [get("name: a\0b\r\n"), [400]],
      "a head larger than 16 KiB": [get(`name: ${"x".repeat(20_000)}\r\n`), [431]],
      "a head that never ends": [`GET ${OPEN} HTTP/1.1\r\nname: ${"x".repeat(40_000)}`, [431]],
      "a Content-Length that is no number": [post("Content-Length: ten\r\n"), [400]],
      "a negative Content-Length": [post("Content-Length: -1\r\n"), [400]],
      "two Content-Lengths that differ": [post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), [400]],
      "Content-Length beside chunked": [post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), [400]],
      "a Content-Length beyond 64 bits": [post("Content-Length: 99999999999999999999999\r\n"), [400, 413]],
    };
    for (const [what, [bytes, statuses]] of Object.entries(rows)) {
      test(what, async () => {
        const connection = await RawConnection.open(server);
        const { status } = await connection.write(bytes).response();
        assert.ok(statuses.includes(status), `${status}`);
        assert.equal(await connection.ended(), "");
      });
    }
  });

  test("a chunk size that is no number ends the POST and its session", async () => {
    const { sid } = await engine.open();
    const connection = await RawConnection.open(server);
    connection.write(`POST ${OPEN}&sid=${sid} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n`);
    assert.equal((await connection.response()).status, 400);
    await connection.ended();
    await eventually(() => engine.poll(sid), ({ body }) => body.includes('"code":1'), "the session lives on");
  });

  test("a request that stops half way costs nothing but itself", async () => {
    for (const part of ["G", "GET /socket.io/?EIO=4", `GET ${OPEN} HTTP/1.1\r\nHost: a\r\n`, `POST ${OPEN} HTTP/1.1\r\nContent-Length: 10\r\n\r\n40`]) {
      const connection = await RawConnection.open(server);
      connection.write(part);
      connection.destroy();
    }
  });

  test("a request that arrives byte by byte is a request", async () => {
    const connection = await RawConnection.open(server);
    for (const byte of Buffer.from(`GET ${OPEN} HTTP/1.1\r\nHost: a\r\n\r\n`)) {
      connection.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    const { status, body } = await connection.response();
    assert.deepEqual([status, body[0]], [200, "0"]);
    connection.destroy();
  });

  test("two requests in one packet get two answers, in order", async () => {
    const connection = await RawConnection.open(server);
    connection.write(`GET ${OPEN}&first HTTP/1.1\r\nHost: a\r\n\r\nGET /socket.io/?EIO=4&transport=abc HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.equal((await connection.response()).body[0], "0");
    assert.equal((await connection.response()).body, '{"code":0,"message":"Transport unknown"}');
    connection.destroy();
  });

  describe("paths", () => {
    for (const path of ["/", "/favicon.ico", "/socket.io?EIO=4&transport=polling", "/socket.iofoo?EIO=4&transport=polling", "/../etc/passwd"]) {
      test(`${path} is not found`, async () => {
        const connection = await RawConnection.open(server);
        const { status } = await connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).response();
        assert.equal(status, 404);
        connection.destroy();
      });
    }

    test("an unknown file below the path is an Engine.IO request without a transport", async () => {
      const connection = await RawConnection.open(server);
      const { status, body } = await connection.write("GET /socket.io/foo.js HTTP/1.1\r\nHost: a\r\n\r\n").response();
      assert.deepEqual([status, JSON.parse(body)], [400, { code: 0, message: "Transport unknown" }]);
      connection.destroy();
    });
  });

  describe("requests of no session", () => {
    const rows = [
      ["an unknown transport", "GET", { EIO: 4, transport: "abc" }, 0, "Transport unknown"],
      ["a name every object has", "GET", { EIO: 4, transport: "constructor" }, 0, "Transport unknown"],
      ["no transport", "GET", { EIO: 4 }, 0, "Transport unknown"],
      ["an unknown sid", "GET", { EIO: 4, transport: "polling", sid: "abc" }, 1, "Session ID unknown"],
      ["a sid of the right form, but nobody's", "GET", { EIO: 4, transport: "polling", sid: "AAAAAAAAAAAAAAAAAAAA" }, 1, "Session ID unknown"],
      ["a sid of strange characters", "POST", { EIO: 4, transport: "polling", sid: "\u0000é€/../%" }, 1, "Session ID unknown"],
      ["a sid of the wrong length", "GET", { EIO: 4, transport: "polling", sid: "A".repeat(4000) }, 1, "Session ID unknown"],
      ["an unknown sid by PUT", "PUT", { EIO: 4, transport: "polling", sid: "abc" }, 1, "Session ID unknown"],
      ["a handshake by POST", "POST", { EIO: 4, transport: "polling" }, 2, "Bad handshake method"],
      ["WebSocket without an upgrade", "GET", { EIO: 4, transport: "websocket" }, 3, "Bad request"],
      ["an older protocol", "GET", { EIO: 3, transport: "polling" }, 5, "Unsupported protocol version"],
      ["no protocol", "GET", { transport: "polling" }, 5, "Unsupported protocol version"],
    ];
    for (const [what, method, query, code, message] of rows) {
      test(`${what} is refused with code ${code}`, async () => {
        assertRefused(await engine.request(method, query), 400, code, message);
      });
    }
  });

  describe("upgrades of no session", () => {
    const rows = [
      ["an unknown transport", "EIO=4&transport=abc", "Transport unknown"],
      ["an unknown sid", "EIO=4&transport=websocket&sid=abc", "Session ID unknown"],
    ];
    for (const [what, query, message] of rows) {
      test(`${what} is refused in plain text`, async () => {
        const connection = await RawConnection.open(server);
        const { status, headers, body } = await connection.write(upgradeHead({ query })).response();
        assert.deepEqual([status, headers.connection, headers["content-type"], body], [400, "close", "text/html", message]);
        assert.equal(await connection.ended(), "");
      });
    }

    test("an older protocol is refused after the 101, in the open WebSocket", async () => {
      const connection = await RawConnection.open(server);
      connection.write(upgradeHead({ query: "EIO=3&transport=websocket" }));
      assert.equal((await connection.response()).status, 101);
      const { status, headers, body } = await connection.response();
      assert.deepEqual([status, headers["content-type"], body], [400, "text/html", "Unsupported protocol version"]);
      assert.equal(await connection.ended(), "");
    });

    const headers = {
      "no key": [{ "Sec-WebSocket-Key": undefined }, "Key"],
      "a key of the wrong length": [{ "Sec-WebSocket-Key": "AAAA" }, "Key"],
      "a version nobody speaks": [{ "Sec-WebSocket-Version": "99" }, "Version"],
      "no version": [{ "Sec-WebSocket-Version": undefined }, "Version"],
      "neither key nor version": [{ "Sec-WebSocket-Key": undefined, "Sec-WebSocket-Version": undefined }, "Key"],
    };
    for (const [what, [changed, name]] of Object.entries(headers)) {
      test(`${what} is refused with the name of the header, and with the versions that are spoken`, async () => {
        const connection = await RawConnection.open(server);
        const { status, headers, body } = await connection.write(upgradeHead({ headers: changed })).response();
        assert.deepEqual([status, headers.connection, headers["content-type"], body], [400, "close", "text/html", `Missing or invalid Sec-WebSocket-${name} header`]);
        // Node takes the draft 8 too.
        assert.match(headers["sec-websocket-version"] ?? "none", name === "Version" ? /^13(, 8)?$/ : /^none$/);
        assert.equal(await connection.ended(), "");
      });
    }
  });

  describe("requests of a session", () => {
    const statusAndBody = ({ status, body }) => [status, body];

    test("a method that is neither GET nor POST is a 500, and the session lives on", async () => {
      const { sid } = await engine.open();
      for (const method of ["PUT", "DELETE", "PATCH"]) {
        assert.deepEqual(statusAndBody(await engine.request(method, { EIO: 4, transport: "polling", sid })), [500, ""]);
      }
      await assertAlive(sid);
    });

    test("another protocol version is refused, and the session lives on", async () => {
      const { sid } = await engine.open();
      assertRefused(await engine.request("GET", { EIO: 3, transport: "polling", sid }), 400, 3, "Bad request");
      await assertAlive(sid);
    });

    test("a GET that names WebSocket and does not ask for it is refused with code 3, and polling goes on", async () => {
      const { sid } = await engine.open();
      assertRefused(await engine.request("GET", { EIO: 4, transport: "websocket", sid }), 400, 3, "Bad request");
      await assertAlive(sid);
    });

    test("a second GET is refused and closes the session; the first is told", async () => {
      const { sid } = await engine.open();
      const { answer: first } = await engine.waitingPoll(sid);
      assert.deepEqual(statusAndBody(await engine.poll(sid)), [400, ""]);
      assert.deepEqual(statusAndBody(await first), [200, "1"]);
      await engine.assertUnknown(sid);
    });

    test("a second POST beside an unfinished one is refused and closes the session", async () => {
      const { sid } = await engine.open();
      const first = await RawConnection.open(server);
      first.write(`POST ${OPEN}&sid=${sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n4`);
      await first.isRead();
      assert.deepEqual(statusAndBody(await engine.post(sid, "40")), [400, ""]);
      await first.ended();
      await engine.assertUnknown(sid);
    });

    test("a POST that the client gives up closes the session", async () => {
      const { sid } = await engine.open();
      const post = await RawConnection.open(server);
      post.write(`POST ${OPEN}&sid=${sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n4`);
      await post.isRead();
      const { port } = post;
      post.destroy();
      await isLeft(server, port);
      await engine.assertUnknown(sid);
    });

    test("a POST of bytes that claim to be no text is refused and closes the session", async () => {
      const { sid } = await engine.open();
      assert.deepEqual(statusAndBody(await engine.post(sid, "40", { "content-type": "application/octet-stream" })), [400, ""]);
      await engine.assertUnknown(sid);
    });

    test("a POST of bytes is one only if its type says that and nothing else", async () => {
      const { sid } = await engine.open();
      assert.deepEqual(statusAndBody(await engine.post(sid, "40", { "content-type": "application/octet-stream; x=y" })), [200, "ok"]);
      await assertAlive(sid);
    });

    for (const [how, headers] of [["declared", {}], ["chunked", { "transfer-encoding": "chunked" }]]) {
      test(`a POST over the limit (${how}) is a 413, and the session lives on`, async () => {
        const { sid } = await engine.open();
        assert.deepEqual(statusAndBody(await engine.post(sid, `4${"x".repeat(PAYLOAD_MAX)}`, headers)), [413, ""]);
        await assertAlive(sid);
      });
    }

    test("a POST just at the limit is taken", async () => {
      const { sid } = await engine.open();
      const body = `40{"pad":"${"x".repeat(PAYLOAD_MAX - 12)}"}`;
      assert.equal(body.length, PAYLOAD_MAX);
      assert.deepEqual(statusAndBody(await engine.post(sid, body)), [200, "ok"]);
      assert.match((await engine.poll(sid)).body, /^40\{"sid":"/);
    });

    test("a POST in chunks is a POST", async () => {
      const { sid } = await engine.open();
      const connection = await RawConnection.open(server);
      connection.write(`POST ${OPEN}&sid=${sid} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n4\r\n`);
      connection.write("1;extension=1\r\n0\r\n0\r\nTrailer: 1\r\n\r\n");
      assert.deepEqual(statusAndBody(await connection.response()), [200, "ok"]);
      assert.match((await engine.poll(sid)).body, /^40\{"sid":"/);
      connection.destroy();
    });

    test("a WebSocket that probes with nonsense is closed, and polling lives on", async () => {
      const { sid } = await engine.open();
      for (const nonsense of ["3probe", "2", "4hello", "x", "1"]) {
        const wire = engine.websocket({ sid });
        await wire.isOpen;
        wire.send(nonsense);
        assert.equal((await wire.closed()).code, 1005, nonsense);
      }
      await assertAlive(sid);
    });

    test("a second WebSocket beside a probing one is closed, and the first goes on", async () => {
      const { sid } = await engine.open();
      const first = engine.websocket({ sid });
      await first.isOpen;
      first.send("2probe");
      assert.equal(await first.next(), "3probe");
      const second = engine.websocket({ sid });
      await second.closed();
      assert.equal((await engine.poll(sid)).body, "6");
      first.send("5");
      first.send("40");
      assert.match(await first.next(), /^40\{"sid":"/);
      first.close();
    });

    async function assertAlive(sid) {
      assert.deepEqual(statusAndBody(await engine.post(sid, "40")), [200, "ok"]);
      assert.match((await engine.poll(sid)).body, /^40\{"sid":"/);
    }
  });

  test("bytes that are no frame behind the head of an upgrade end that connection alone", async () => {
    const { sid } = await engine.open();
    for (const query of ["EIO=4&transport=websocket", `EIO=4&transport=websocket&sid=${sid}`]) {
      const connection = await RawConnection.open(server);
      connection.write(Buffer.concat([Buffer.from(upgradeHead({ query })), Buffer.from("test")]));
      assert.equal((await connection.response()).status, 101);
      await connection.ended();
    }
    assert.equal((await engine.post(sid, "40")).body, "ok");
    assert.match((await engine.poll(sid)).body, /^40\{"sid":"/);
  });

  test("a WebSocket frame before the handshake is finished is no harm", async () => {
    const connection = await RawConnection.open(server);
    connection.write(Buffer.concat([Buffer.from(upgradeHead()), frame({ text: "40" })]));
    assert.equal((await connection.response()).status, 101);
    connection.destroy();
  });
});
