// Malformed WebSocket frames get the close code of RFC 6455 and end as `transport error`; the neighbours notice nothing.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Neighbours } from "../harness/neighbours.mjs";
import { frame, OPCODE, RawWebSocket } from "../harness/raw.mjs";
import { suite } from "../harness/server.mjs";

const PAYLOAD_MAX = 1_000_000;
const { continuation, text, binary, ping, pong, close } = OPCODE;
const event = (value) => `42["ack",${JSON.stringify(value)}]`.replace("42", "427");

suite("clients", "bad frames", (server) => {
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  describe("are closed with a code", () => {
    const rows = {
      "an unmasked frame": [1002, frame({ text: "2", masked: false })],
      "reserved bit 1": [1002, frame({ text: event(1), rsv: 4 })],
      "reserved bit 2": [1002, frame({ text: event(1), rsv: 2 })],
      "reserved bit 3": [1002, frame({ text: event(1), rsv: 1 })],
      "a reserved opcode for data": [1002, frame({ text: "x", opcode: 3 })],
      "a reserved opcode for control": [1002, frame({ text: "x", opcode: 11 })],
      "a ping in fragments": [1002, frame({ text: "x", opcode: ping, fin: false })],
      "a ping of 126 bytes": [1002, frame({ payload: Buffer.alloc(126), opcode: ping })],
      "a continuation of nothing": [1002, frame({ text: "x", opcode: continuation })],
      "a new message inside another": [1002, frame({ text: "4", fin: false }), frame({ text: event(1) })],
      "a length with its highest bit set": [[1002, 1009], frame({ payload: Buffer.alloc(0), declared: 2n ** 63n, lengthBytes: 8 })],
      "a length of nearly 64 bits": [1009, frame({ payload: Buffer.alloc(0), declared: 2n ** 52n, lengthBytes: 8 })],
      "a message over the limit, refused before it is sent": [1009, frame({ text: "4", declared: PAYLOAD_MAX + 1, lengthBytes: 8 })],
      "fragments that sum up to more than the limit": [
        1009,
        frame({ payload: Buffer.alloc(600_000, "4"), fin: false }),
        frame({ payload: Buffer.alloc(600_000, "4"), opcode: continuation }),
      ],
      "text that is not UTF-8": [1007, frame({ payload: Buffer.from([0x34, 0xff]), opcode: text })],
      "text with half a character at its end": [1007, frame({ payload: Buffer.from([0x34, 0xe2, 0x82]), opcode: text })],
      "text with half a surrogate pair": [1007, frame({ payload: Buffer.from([0x34, 0xed, 0xa0, 0x80]), opcode: text })],
      "fragments whose sum is not UTF-8": [
        1007,
        frame({ payload: Buffer.from([0x34, 0xe2, 0x82]), fin: false }),
        frame({ text: "x", opcode: continuation }),
      ],
      "a close frame of one byte": [1002, frame({ payload: Buffer.from([3]), opcode: close })],
      "a close code that must not be sent": [1002, frame({ payload: Buffer.from([1005 >> 8, 1005 & 255]), opcode: close })],
      "a close reason that is not UTF-8": [1007, frame({ payload: Buffer.from([1000 >> 8, 1000 & 255, 0xff]), opcode: close })],
    };
    for (const [what, [code, ...frames]] of Object.entries(rows)) {
      test(what, async () => {
        const wire = await RawWebSocket.join(server);
        wire.send(Buffer.concat(frames));
        assert.ok([code].flat().includes(await wire.closeCode()));
        assert.equal(await neighbours.reasonOf(wire.id), "transport error");
      });
    }
  });

  describe("odd but sound", () => {
    async function assertAnswers(wire, value) {
      assert.equal((await wire.next()).text, `437[${JSON.stringify(value)}]`);
    }

    test("a ping is answered with its payload", async () => {
      const wire = await RawWebSocket.join(server);
      for (const payload of [Buffer.alloc(0), Buffer.alloc(125, "p")]) {
        wire.send(frame({ payload, opcode: ping }));
        const answer = await wire.next();
        assert.equal(answer.opcode, pong);
        assert.deepEqual(answer.payload, payload);
      }
      wire.send(frame({ text: "unasked", opcode: pong })).send(frame({ text: event(1) }));
      await assertAnswers(wire, 1);
      wire.destroy();
    });

    test("a message in fragments, a ping between them and a character cut in two", async () => {
      const wire = await RawWebSocket.join(server);
      const bytes = Buffer.from(event("€😀"));
      for (let cut = 1; cut < bytes.length - 1; cut += 1) {
        wire.send(frame({ payload: bytes.subarray(0, cut), opcode: text, fin: false }));
        wire.send(frame({ text: String(cut), opcode: ping }));
        wire.send(frame({ payload: bytes.subarray(cut), opcode: continuation }));
        assert.equal((await wire.next()).text, String(cut));
        await assertAnswers(wire, "€😀");
      }
      wire.destroy();
    });

    test("a message of one-byte and empty fragments", async () => {
      const wire = await RawWebSocket.join(server);
      const bytes = Buffer.from(event("slow"));
      const frames = [...bytes].map((byte, index) => frame({ payload: Buffer.from([byte]), opcode: index ? continuation : text, fin: false }));
      frames.push(frame({ text: "", opcode: continuation, fin: false }), frame({ text: "", opcode: continuation }));
      wire.send(Buffer.concat(frames));
      await assertAnswers(wire, "slow");
      wire.destroy();
    });

    test("frames that arrive byte by byte", async () => {
      const wire = await RawWebSocket.join(server);
      for (const byte of Buffer.concat([frame({ text: event("x".repeat(200)) }), frame({ text: event(2) })])) {
        wire.send(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      await assertAnswers(wire, "x".repeat(200));
      await assertAnswers(wire, 2);
      wire.destroy();
    });

    test("messages of every length that changes the form of the header", async () => {
      const wire = await RawWebSocket.join(server);
      const overhead = event("").length;
      for (const length of [overhead, 124, 125, 126, 127, 65_535, 65_536, PAYLOAD_MAX]) {
        const value = "x".repeat(length - overhead);
        wire.send(frame({ text: event(value) }));
        await assertAnswers(wire, value);
      }
      wire.destroy();
    });

    // RFC 6455 asks for the shortest form of a length. Node's server does not insist; to insist is as good.
    test("a length written longer than needed is taken or refused with 1002", async () => {
      const wire = await RawWebSocket.join(server);
      wire.send(frame({ text: event(1), lengthBytes: 8 }));
      const answer = await wire.next();
      if (answer.opcode === close) assert.equal(answer.payload.readUInt16BE(0), 1002);
      else assert.equal(answer.text, "437[1]");
      wire.destroy();
    });

    for (const [what, payload, code] of [
      ["no code", Buffer.alloc(0), 1005],
      ["a code and a reason", Buffer.concat([Buffer.from([1000 >> 8, 1000 & 255]), Buffer.from("bye")]), 1000],
      ["a code of the application's", Buffer.from([4000 >> 8, 4000 & 255]), 4000],
    ]) {
      test(`a close frame with ${what} is answered, and is a transport close`, async () => {
        const wire = await RawWebSocket.join(server);
        wire.send(frame({ payload, opcode: close }));
        assert.equal(await wire.closeCode(), code);
        assert.equal(await neighbours.reasonOf(wire.id), "transport close");
      });
    }

    test("a connection that breaks inside a frame is a transport close", async () => {
      for (const part of [frame({ text: event(1) }).subarray(0, 1), frame({ text: event("x".repeat(999)) }).subarray(0, 100), frame({ payload: Buffer.alloc(9), opcode: binary, fin: false })]) {
        const wire = await RawWebSocket.join(server);
        wire.send(part);
        // Half a frame has been read before the end is.
        await wire.isRead();
        wire.destroy();
        assert.equal(await neighbours.reasonOf(wire.id), "transport close");
      }
    });
  });
});
