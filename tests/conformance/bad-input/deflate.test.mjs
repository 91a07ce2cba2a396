// Bombs, broken streams and misplaced bits under permessage-deflate: a close code for their sender, nothing for its neighbours.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { constants, deflateRawSync } from "node:zlib";
import { Neighbours } from "../harness/neighbours.mjs";
import { frame, OPCODE, RawConnection, RawWebSocket, upgradeHead } from "../harness/raw.mjs";
import { residentBytes, suite } from "../harness/server.mjs";

const PAYLOAD_MAX = 1_000_000;
const RSV1 = 4;
const OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/** A message as RFC 7692 has it: flushed, without the four bytes at its end. */
function deflated(message) {
  return deflateRawSync(message, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

const event = (value) => `427${JSON.stringify(["ack", value])}`;
const message = (text, options = {}) => frame({ payload: deflated(Buffer.from(text)), rsv: RSV1, ...options });

for (const name of ["compression", "compression-context"]) {
  suite(name, `bad frames with permessage-deflate, suite ${name}`, (server) => {
    let neighbours;
    before(async () => (neighbours = await Neighbours.move(server)));
    afterEach(() => neighbours.assertUndisturbed());
    after(() => neighbours.leave());

    const join = () => RawWebSocket.join(server, { "Sec-WebSocket-Extensions": OFFER });

    async function assertAnswers(wire, value) {
      assert.equal((await wire.next()).text, `437[${JSON.stringify(value)}]`);
    }

    describe("are closed with a code", () => {
      const bomb = deflated(Buffer.alloc(200_000_000, "4"));
      const whole = deflated(Buffer.from(event("cut")));
      const rows = {
        "a bomb: 200 MB in 200 KB": [1009, frame({ payload: bomb, rsv: RSV1 })],
        "a bomb in fragments": [
          1009,
          frame({ payload: bomb.subarray(0, 90_000), rsv: RSV1, fin: false }),
          frame({ payload: bomb.subarray(90_000), opcode: OPCODE.continuation }),
        ],
        "a byte over the limit when inflated": [1009, message("4".repeat(PAYLOAD_MAX + 1))],
        "what is no DEFLATE": [1007, frame({ payload: Buffer.alloc(30, 0xff), rsv: RSV1 })],
        "text that is no UTF-8 when inflated": [1007, message(Buffer.from([0x34, 0xff]))],
        "reserved bit 2 besides": [1002, message(event(1), { rsv: RSV1 | 2 })],
        "reserved bit 3 besides": [1002, message(event(1), { rsv: RSV1 | 1 })],
        "reserved bit 1 on a ping": [1002, frame({ text: "x", opcode: OPCODE.ping, rsv: RSV1 })],
        "reserved bit 1 on a continuation": [
          1002,
          frame({ payload: whole.subarray(0, 5), rsv: RSV1, fin: false }),
          frame({ payload: whole.subarray(5), rsv: RSV1, opcode: OPCODE.continuation }),
        ],
        "reserved bit 1 on a text that was not compressed": [1007, frame({ text: event("not compressed at all"), rsv: RSV1 })],
      };
      for (const [what, [code, ...frames]] of Object.entries(rows)) {
        test(what, async () => {
          const wire = await join();
          wire.send(Buffer.concat(frames));
          assert.equal(await wire.closeCode(), code);
          assert.equal(await neighbours.reasonOf(wire.id), "transport error");
        });
      }
    });

    test("reserved bit 1 where it was not agreed on", async () => {
      const wire = await RawWebSocket.join(server);
      wire.send(message(event(1)));
      assert.equal(await wire.closeCode(), 1002);
    });

    test("half a stream is never half an event", async () => {
      const whole = deflated(Buffer.from(event("a text that is cut off somewhere")));
      for (let length = 0; length < whole.length - 4; length += 3) {
        const wire = await join();
        wire.send(frame({ payload: whole.subarray(0, length), rsv: RSV1 })).send(frame({ text: event(1) }));
        // Half a packet, an empty one, or nothing to read: in Node too it depends on where the cut is.
        const first = await wire.next();
        if (first.opcode === OPCODE.text) assert.equal(first.text, "437[1]");
        else assert.ok([1005, 1007].includes(first.payload.length ? first.payload.readUInt16BE(0) : 1005), String(length));
        wire.destroy();
      }
    });

    test("bombs cost bounded memory, one after the other and many at once", async () => {
      const bomb = frame({ payload: deflated(Buffer.alloc(200_000_000, "4")), rsv: RSV1 });
      await (await join()).send(bomb).closeCode();
      const before = residentBytes(server);
      const wires = await Promise.all(Array.from({ length: 30 }, join));
      for (const wire of wires) wire.send(bomb);
      for (const wire of wires) assert.equal(await wire.closeCode(), 1009);
      const grown = residentBytes(server) - before;
      assert.ok(grown < 150_000_000, `6 GB of bombs have cost ${grown} bytes`);
    });

    describe("odd but sound", () => {
      test("the longest message, and compressed ones in fragments between plain ones", async () => {
        const wire = await join();
        const overhead = event("").length;
        const longest = "x".repeat(PAYLOAD_MAX - overhead);
        wire.send(message(event(longest)));
        await assertAnswers(wire, longest);
        const bytes = deflated(Buffer.from(event("in pieces")));
        for (let cut = 1; cut < bytes.length; cut += 5) {
          wire.send(frame({ payload: bytes.subarray(0, cut), rsv: RSV1, fin: false }));
          wire.send(frame({ text: String(cut), opcode: OPCODE.ping }));
          wire.send(frame({ payload: bytes.subarray(cut), opcode: OPCODE.continuation }));
          wire.send(frame({ text: event(cut) }));
          assert.equal((await wire.next()).text, String(cut));
          await assertAnswers(wire, "in pieces");
          await assertAnswers(wire, cut);
        }
        wire.destroy();
      });

      test("stored blocks, empty blocks, and a stream that ends", async () => {
        const wire = await join();
        const stored = deflateRawSync(event("stored"), { level: 0, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
        const empty = Buffer.concat([deflateRawSync("", { finishFlush: constants.Z_SYNC_FLUSH }), deflated(Buffer.from(event("after an empty block")))]);
        const ended = Buffer.concat([deflateRawSync(event("ended")), Buffer.from([0])]);
        for (const [value, payload] of [["stored", stored], ["after an empty block", empty], ["ended", ended]]) {
          wire.send(frame({ payload, rsv: RSV1 }));
          await assertAnswers(wire, value);
        }
        wire.destroy();
      });
    });

    describe("offers", () => {
      async function answerTo(offer) {
        const wire = await RawConnection.open(server);
        wire.write(upgradeHead({ headers: { "Sec-WebSocket-Extensions": offer } }));
        const answer = await wire.response();
        wire.destroy();
        return answer;
      }

      for (const offer of [
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=a",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate;",
        "permessage-deflate; =",
        ", permessage-deflate",
      ]) {
        test(`${offer} is refused`, async () => {
          const { status, body } = await answerTo(offer);
          assert.deepEqual([status, body], [400, "Invalid or unacceptable Sec-WebSocket-Extensions header"]);
        });
      }

      test("other extensions are let be, and the first offer that fits is taken", async () => {
        assert.equal((await answerTo("x-webkit-deflate-frame, mux; max-channels=4")).headers["sec-websocket-extensions"], undefined);
        const answer = await answerTo("permessage-deflate; server_max_window_bits=12, permessage-deflate");
        assert.match(answer.headers["sec-websocket-extensions"], /^permessage-deflate;.* server_max_window_bits=12(;|$)/);
      });
    });
  });
}
