// Malformed packets of the msgpack parser close their own connection, with the reasons that the Node server gives.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { Engine } from "../harness/engine.mjs";
import { Neighbours } from "../harness/neighbours.mjs";
import { decodeMsgpack as decode, encodeMsgpack as encode } from "../harness/parsers.mjs";
import { suite } from "../harness/server.mjs";

const hex = (...parts) => Buffer.from(parts.join("").replaceAll(" ", ""), "hex");
const CONNECT = encode({ type: 0, nsp: "/" });
const [TYPE, DATA, NSP, ID, ROOT] = ["a474797065", "a464617461", "a36e7370", "a26964", "a36e7370a12f"];
const EVENT = `${TYPE}02`;

/** What our server is stricter about: Node lets it in. */
const isOurs = Boolean(process.env.RINGIO_SERVER);

const VIOLATIONS = {
  "text, which the default parser would read": ['42["ack",1]'],
  "nothing at all": [hex("")],
  "nil": [hex("c0")],
  "a list": [hex("93 01 02 03")],
  "the one byte that means nothing": [hex("83", EVENT, DATA, "91 c1", ROOT)],
  "a packet cut off": [hex("83", EVENT, DATA, "92 a3 61636b")],
  "a packet and a byte": [hex("83", EVENT, DATA, "91 a161", ROOT, "00")],
  "no type": [hex("82", DATA, "91 a161", ROOT)],
  "a type above four": [hex("83", TYPE, "05", DATA, "91 a161", ROOT)],
  "a type below zero": [hex("83", TYPE, "ff", DATA, "91 a161", ROOT)],
  "a type with a fraction": [hex("83", TYPE, "cb3ff8000000000000", DATA, "91 a161", ROOT)],
  "a type as text": [hex("83", TYPE, "a132", DATA, "91 a161", ROOT)],
  "no namespace": [hex("82", EVENT, DATA, "91 a161")],
  "a namespace that is a number": [hex("83", EVENT, DATA, "91 a161", NSP, "01")],
  "an event without data": [hex("82", EVENT, ROOT)],
  "an event with an object": [hex("83", EVENT, DATA, "80", ROOT)],
  "an event with undefined": [hex("83", EVENT, DATA, "d40000", ROOT)],
  "an ack with an object": [hex("84", TYPE, "03", ID, "00", DATA, "80", ROOT)],
  "an ack id with a fraction": [hex("84", EVENT, DATA, "91 a161", ID, "cb3ff8000000000000", ROOT)],
  "an ack id that is text": [hex("84", EVENT, DATA, "91 a161", ID, "a131", ROOT)],
  "an ack id that is nil": [hex("84", EVENT, DATA, "91 a161", ID, "c0", ROOT)],
  "a connect with a list": [hex("83", TYPE, "00", DATA, "90", NSP, "a62f61646d696e")],
  "a connect with text": [hex("83", TYPE, "00", DATA, "a161", NSP, "a62f61646d696e")],
  "a second connect": [CONNECT],
  "a disconnect with data": [hex("83", TYPE, "01", DATA, "80", ROOT)],
  "a connect error, which is the server's to send": [encode({ type: 4, data: { message: "no" }, nsp: "/" })],
  "an event for a namespace not joined": [encode({ type: 2, data: ["ack"], nsp: "/admin" })],
  "an ack for a namespace not joined": [encode({ type: 3, id: 0, data: [], nsp: "/admin" })],
  "an event for a namespace without slash": [encode({ type: 2, data: ["ack"], nsp: "admin" })],
  "lists in each other, 100,000 deep": [hex("83", EVENT, DATA, "91".repeat(100_000), ROOT)],
  "objects in each other, 50,000 deep": [hex("83", EVENT, DATA, "92 a161", "81a16b".repeat(50_000), "c0", ROOT)],
};
// The Node server goes out of memory or takes some of them for short ones.
const ANNOUNCED = {
  "text of four billion bytes": [hex("83", EVENT, DATA, "92 a161 dbffffffff", ROOT)],
  "binary of four billion bytes": [hex("83", EVENT, DATA, "92 a161 c6ffffffff", ROOT)],
  "an extension of four billion bytes": [hex("83", EVENT, DATA, "92 a161 c9ffffffff00", ROOT)],
  "a list of four billion": [hex("83", EVENT, DATA, "92 a161 ddffffffff", ROOT)],
  "an object of four billion": [hex("83", EVENT, DATA, "92 a161 dfffffffff", ROOT)],
  "a packet of four billion keys": [hex("dfffffffff", EVENT, ROOT)],
};
// Where ours is stricter than Node's.
const STRICTER = {
  "an event without a name": [hex("83", EVENT, DATA, "90", ROOT)],
  "an event named nil": [hex("83", EVENT, DATA, "91 c0", ROOT)],
  "an event named connect": [encode({ type: 2, data: ["connect"], nsp: "/" })],
  "an event named disconnect": [encode({ type: 2, data: ["disconnect"], nsp: "/" })],
  "an ack id below zero": [hex("84", EVENT, DATA, "91 a161", ID, "ff", ROOT)],
  "an ack id beyond 2^53": [hex("84", EVENT, DATA, "91 a161", ID, "cf0020000000000001", ROOT)],
  "lists in each other, 129 deep": [hex("83", EVENT, DATA, "92 a161", "91".repeat(127), "90", ROOT)],
  "a key that is a list": [hex("83", EVENT, DATA, "92 a161 8190c0", ROOT)],
  "1001 binary values": [encode({ type: 2, data: ["a", ...Array.from({ length: 1001 }, () => Buffer.of(1))], nsp: "/" })],
};
// Packets that look wrong and are not.
const SOUND = {
  "keys that nobody knows": [hex("86", EVENT, DATA, "91 a161", ROOT, "a16f 81a16101 01 02 a0 93c0c0c0")],
  "a key twice: the last one counts": [hex("84", TYPE, "09", EVENT, DATA, "91 a161", ROOT)],
  "a type in eight bytes": [hex("83", TYPE, "cf0000000000000002", DATA, "91 a161", ROOT)],
  "a type as a float": [hex("83", TYPE, "cb4000000000000000", DATA, "91 a161", ROOT)],
  "an event named by a number": [encode({ type: 2, data: [7, 1], nsp: "/" })],
  "an ack nobody waits for": [encode({ type: 3, id: 99, data: [1], nsp: "/" })],
  "an ack without id": [encode({ type: 3, data: [1], nsp: "/" })],
  "what looks like a placeholder of the default parser": [
    encode({ type: 2, data: ["none", { _placeholder: true, num: 0 }, { _placeholder: true, num: 9 }, Buffer.of(1)], nsp: "/" }),
  ],
  "an extension, a date, an infinity": [hex("83", EVENT, DATA, "94 a161 d50701ff d7000000000000000005 cb7ff0000000000000", ROOT)],
  "text that is not UTF-8": [hex("83", EVENT, DATA, "92 a161 a2c328", ROOT)],
};

suite("clients", "bad packets", (server) => {
  const engine = new Engine(server);
  let neighbours;
  before(async () => (neighbours = await Neighbours.move(server)));
  afterEach(() => neighbours.assertUndisturbed());
  after(() => neighbours.leave());

  const ACK = encode({ type: 2, data: ["ack", "alive"], id: 7, nsp: "/" });
  const ALIVE = encode({ id: 7, type: 3, data: ["alive"], nsp: "/" });

  async function joinedByWebsocket() {
    const wire = await engine.openWebsocket();
    wire.send(CONNECT);
    wire.id = decode(await wire.nextMessage()).data.sid;
    return wire;
  }

  async function joinedByPolling() {
    const { sid } = await engine.open();
    await engine.post(sid, payload([CONNECT]));
    return { sid, id: decode(fromBase64((await engine.poll(sid)).body)).data.sid };
  }

  async function assertWebsocketEnds(packets) {
    const wire = await joinedByWebsocket();
    for (const packet of packets) wire.send(packet);
    assert.equal((await wire.closed()).code, 1005);
    assert.equal(await neighbours.reasonOf(wire.id), "forced close");
  }

  async function assertPollingEnds(packets) {
    const { sid, id } = await joinedByPolling();
    const { status, body } = await engine.post(sid, payload(packets));
    assert.deepEqual([status, body], [200, "ok"]);
    const next = await engine.poll(sid);
    if (next.status === 200) assert.equal(next.body.split("\x1e").at(-1), "1");
    const reason = await neighbours.reasonOf(id);
    assert.ok(["forced close", "forced server close"].includes(reason), reason);
    await engine.assertUnknown(sid);
  }

  for (const [title, table, isAsked] of [["violations", VIOLATIONS, true], ["announced", ANNOUNCED, isOurs], ["where Node is more patient", STRICTER, isOurs]]) {
    describe(title, () => {
      for (const [what, packets] of isAsked ? Object.entries(table) : []) {
        test(`${what} (WebSocket)`, () => assertWebsocketEnds(packets));
        test(`${what} (polling)`, () => assertPollingEnds(packets));
      }
    });
  }

  describe("odd but sound", () => {
    for (const [what, packets] of Object.entries(SOUND)) {
      test(`${what} (WebSocket)`, async () => {
        const wire = await joinedByWebsocket();
        for (const packet of packets) wire.send(packet);
        wire.send(ACK);
        assert.deepEqual(await wire.nextMessage(), ALIVE);
        wire.close();
      });

      test(`${what} (polling)`, async () => {
        const { sid } = await joinedByPolling();
        await engine.post(sid, payload([...packets, ACK]));
        assert.deepEqual(fromBase64((await engine.poll(sid)).body), ALIVE);
      });
    }

    test("an event in the same POST as the disconnect behind it is not heard", async () => {
      const { sid, id } = await joinedByPolling();
      await engine.post(sid, payload([encode({ type: 2, data: ["all", "never", 1], nsp: "/" }), encode({ type: 1, nsp: "/" })]));
      assert.equal(await neighbours.reasonOf(id), "client namespace disconnect");
    });
  });

  describe("before anything is joined", () => {
    const rows = { "an event": ACK, "a disconnect": encode({ type: 1, nsp: "/" }), "nothing sound": hex("c1"), "text": "40" };
    for (const [what, packet] of Object.entries(rows)) {
      test(`${what} closes the connection`, async () => {
        const wire = await engine.openWebsocket();
        wire.send(typeof packet === "string" ? `4${packet}` : packet);
        assert.equal((await wire.closed()).code, 1005);
        await engine.assertUnknown(wire.handshake.sid);
      });
    }
  });

  test("a namespace without slash is refused by that name", async () => {
    const wire = await joinedByWebsocket();
    wire.send(encode({ type: 0, nsp: "admin" }));
    assert.deepEqual(decode(await wire.nextMessage()), { type: 4, nsp: "admin", data: { message: "Invalid namespace" } });
    wire.send(ACK);
    assert.deepEqual(await wire.nextMessage(), ALIVE);
    wire.close();
  });

  // Bounded by what has come, not by what was announced.
  test("what is announced costs nothing", { skip: !isOurs && "only ours keeps its memory to itself" }, async () => {
    const before = residentKilobytes(server.pid);
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(Object.values(ANNOUNCED).map(async ([packet]) => {
        const wire = await joinedByWebsocket();
        wire.send(packet);
        await wire.closed();
      }));
    }
    const grown = residentKilobytes(server.pid) - before;
    assert.ok(grown < 32_768, `${grown} KiB more`);
  });
}, { parsers: ["msgpack"] });

const payload = (packets) => packets.map((packet) => (typeof packet === "string" ? packet : `b${packet.toString("base64")}`)).join("\x1e");

function fromBase64(body) {
  assert.equal(body[0], "b");
  return Buffer.from(body.slice(1), "base64");
}

const residentKilobytes = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
