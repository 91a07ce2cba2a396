// What a client of Engine.IO 3, or one that polls by JSONP, does wrong ends its own session and nobody else's.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Neighbours } from "../harness/neighbours.mjs";
import { frame, OPCODE, RawConnection, RawWebSocket } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

async function request(server, method, target, body = "", headers = {}) {
  const wire = await RawConnection.open(server);
  const all = { Host: "a", ...(method === "POST" && { "Content-Length": Buffer.byteLength(body) }), ...headers };
  wire.write(`${method} ${target} HTTP/1.1\r\n${Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
  wire.write(Buffer.from(body));
  const answer = await wire.response();
  wire.destroy();
  return answer;
}

suite("clients-v2", "bad input of older clients", (server) => {
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  describe("Engine.IO 3 by polling: the POST is answered, the session is over", () => {
    const bodies = {
      "no length": "hello",
      "a length that is no number": "x:4",
      "a length beyond the body": "99:4",
      "an unknown packet": "2:9x",
      "a pong, which is the server's": "1:3",
      "bytes that are no text": Buffer.from([0x32, 0x3a, 0xff, 0xfe]),
    };
    for (const [what, body] of Object.entries(bodies)) {
      test(what, async () => {
        const path = "/socket.io/?EIO=3&transport=polling&b64=1";
        const opened = await request(server, "GET", path);
        const sid = /"sid":"([^"]+)"/.exec(opened.body)[1];
        const posted = await request(server, "POST", `${path}&sid=${sid}`, body, { "Content-Type": "text/plain;charset=UTF-8" });
        assert.ok([200, 400].includes(posted.status), String(posted.status));
        const polled = await request(server, "GET", `${path}&sid=${sid}`);
        assert.ok(polled.status === 400 || polled.body.endsWith("1:1"), `${polled.status} ${polled.body}`);
      });
    }

    test("a binary body that is none", async () => {
      const path = "/socket.io/?EIO=3&transport=polling";
      const opened = await request(server, "GET", path);
      const sid = /"sid":"([^"]+)"/.exec(opened.body)[1];
      for (const body of [[7, 1, 255, 52], [0, 9, 9, 9, 255, 52], [1, 1]]) {
        const posted = await request(server, "POST", `${path}&sid=${sid}`, Buffer.from(body), { "Content-Type": "application/octet-stream" });
        assert.ok([200, 400].includes(posted.status), String(posted.status));
      }
    });
  });

  describe("Engine.IO 3 by WebSocket: the connection is ended", () => {
    const frames = {
      "a pong, which is the server's": frame({ text: "3" }),
      "an unknown packet": frame({ text: "9" }),
      "no packet": frame({ text: "" }),
      "an unknown packet of Socket.IO": frame({ text: "49" }),
      "bytes without an event": frame({ opcode: OPCODE.binary, payload: Buffer.from([4, 1, 2, 3]) }),
      "an event for a namespace that was not joined": frame({ text: '42/admin,["echo"]' }),
    };
    for (const [what, bytes] of Object.entries(frames)) {
      test(what, async () => {
        const wire = await RawWebSocket.open(server, { query: "EIO=3&transport=websocket" });
        wire.send(bytes);
        wire.send(frame({ opcode: OPCODE.ping, text: "still there?" }));
        assert.notEqual(await wire.closeCode(), 1006, "a close frame says so");
      });
    }
  });

  describe("JSONP", () => {
    for (const protocol of [3, 4]) {
      const path = `/socket.io/?EIO=${protocol}&transport=polling&j=0`;
      const form = { "Content-Type": "application/x-www-form-urlencoded" };
      for (const [what, body] of [["a form without d", "e=4"], ["no form", "%%%"], ["d that holds no packet", "d=hello"]]) {
        test(`revision ${protocol}: ${what}`, async () => {
          const opened = await request(server, "GET", path);
          const sid = /\\"sid\\":\\"([^"\\]+)\\"/.exec(opened.body)[1];
          const posted = await request(server, "POST", `${path}&sid=${sid}`, body, form);
          assert.ok([200, 400].includes(posted.status), String(posted.status));
        });
      }

      test(`revision ${protocol}: an index that is no number is left out of the answer`, async () => {
        const opened = await request(server, "GET", `/socket.io/?EIO=${protocol}&transport=polling&j=alert(1)//7`);
        assert.equal(opened.status, 200);
        assert.match(opened.body, /^___eio\[17\]\("/);
      });
    }
  });
});
