// The seeds that every run of the tests plays, and proof that the oracle can fail.
//
// RINGIO_SERVER  path of our `conformance` program; without it only the Node server is compared with itself.
// ORACLE_SEEDS   other seeds than these: `1..1000`

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { explain, paired } from "./compare.mjs";
import { DIFFERENCES, FORKS } from "./differences.mjs";
import { generate } from "./generate.mjs";
import { PLANTS } from "./handlers.mjs";
import { Oracle } from "./oracle.mjs";
import { shrink } from "./shrink.mjs";

const SEEDS = (process.env.ORACLE_SEEDS ?? "1..100").split("..").map(Number);
const TARGETS = ["uring/1", "uring/3", "epoll/1"];
/** A mistake planted in the handlers is found within so many seeds. */
const PLANT_SEEDS = 150;

async function judge(oracle, seeds, suite) {
  try {
    for (let seed = seeds[0]; seed <= seeds[1]; seed += 1) {
      const script = generate(seed, suite);
      const finding = await oracle.judge(script);
      if (finding) return { seed, original: script, ...finding };
    }
    return undefined;
  } finally {
    await oracle.close();
  }
}

function assertNothing(finding) {
  if (!finding) return;
  const { seed, target, found, script } = finding;
  assert.fail(`seed ${seed} (${script.suite}): ${target} differs from node\n${explain(found, script, ["node", target])}\n${JSON.stringify(script)}`);
}

test("ours and Node cannot be told apart", { skip: !process.env.RINGIO_SERVER && "RINGIO_SERVER is not given" }, async (context) => {
  const oracle = new Oracle({ targets: TARGETS });
  const finding = await judge(oracle, SEEDS);
  context.diagnostic(`seeds ${SEEDS.join("..")}; ${oracle.summary()}`);
  assertNothing(finding);
});

test("Node cannot be told from itself, without any excuse", async () => {
  // What would have to be played again fails here: a busy machine has to get it right the first time.
  const oracle = new Oracle({ targets: ["node"], patience: 4 });
  const finding = await judge(oracle, [1, 24]);
  assertNothing(finding);
  assert.deepEqual([...oracle.ofNode, ...oracle.rare].map(({ what }) => what), []);
});

describe("a mistake is found", () => {
  for (const plant of PLANTS) {
    test(`${plant}, within ${PLANT_SEEDS} seeds, and shown by a short script`, async (context) => {
      const finding = await judge(new Oracle({ targets: [`node+${plant}`] }), [1, PLANT_SEEDS], "oracle");
      assert.ok(finding, "not found");
      context.diagnostic(`seed ${finding.seed}: ${finding.script.steps.length} steps of ${finding.original.steps.length}`);
      assert.ok(finding.script.steps.length <= 12, JSON.stringify(finding.script));
    });
  }
});

test("one seed is one script", () => {
  for (const seed of [1, 2, 3, 2 ** 40]) assert.deepEqual(generate(seed), generate(seed));
  assert.notDeepEqual(generate(1, "oracle"), generate(2, "oracle"));
});

test("a script is cut down to the steps that the difference needs", async () => {
  const steps = Array.from({ length: 40 }, (_, number) => ({ op: "poll", number }));
  const needs = (...numbers) => async ({ steps: left }) => numbers.every((number) => left.some((step) => step.number === number));
  const short = await shrink({ steps }, needs(3, 17, 38));
  assert.deepEqual(short.steps.map(({ number }) => number), [3, 17, 38]);
});

// A rule for a known difference must not swallow its neighbours.
describe("a known difference excuses nothing else", () => {
  const refusal = { kind: "answer", status: 400, headers: { connection: "keep-alive", "content-length": "(size of the body)" }, body: "no" };
  const poll = { kind: "poll", status: 200, headers: { connection: "keep-alive" }, packets: ["41"] };
  const rows = {
    "another body": [[refusal], [{ ...refusal, body: "yes" }], "client 0 request"],
    "another status": [[refusal], [{ ...refusal, status: 403 }], "client 0 request"],
    "a success that ends its connection": [[poll], [{ ...poll, headers: { connection: "close" } }, { kind: "end" }], "client 0 poll"],
    "a packet more": [[poll], [{ ...poll, packets: ["41", "6"] }], "client 0 poll"],
    "packets in another order": [[{ ...poll, packets: ['42["a"]', '42["b"]'] }], [{ ...poll, packets: ['42["b"]', '42["a"]'] }], "client 0 poll"],
    "another header": [[poll], [{ ...poll, headers: { ...poll.headers, vary: "Origin" } }], "client 0 poll"],
    "a noop where Node answers": [[poll], [{ ...poll, packets: ["6"] }], "client 0 poll"],
    "another attachment": [
      [{ kind: "frame", opcode: 1, text: '451-["a",{"_placeholder":true,"num":0}]' }, { kind: "frame", opcode: 2, hex: "00" }],
      [{ kind: "frame", opcode: 1, text: '451-["a",{"_placeholder":true,"num":0}]' }, { kind: "frame", opcode: 2, hex: "01" }],
      "client 0 ws",
    ],
    "an event that only ours hears": [[["connection"], ["disconnect", "transport close", 0]], [["connection"], ["any", "a", 1], ["disconnect", "transport close", 0]], "log"],
    "a message that is not compressed though that would make it shorter": [[{ kind: "frame", opcode: 1, rsv: 0x40, text: `42["a","${"x".repeat(400)}"]` }], [{ kind: "frame", opcode: 1, text: `42["a","${"x".repeat(400)}"]` }], "client 0 ws"],
    "a message that only ours compresses": [[{ kind: "frame", opcode: 1, text: '42["a"]' }], [{ kind: "frame", opcode: 1, rsv: 0x40, text: '42["a"]' }], "client 0 ws"],
    "a question that only ours compresses though it is long": [[{ kind: "frame", opcode: 1, text: `42(ack 0)["a","${"x".repeat(64)}"]` }], [{ kind: "frame", opcode: 1, rsv: 0x40, text: `42(ack 0)["a","${"x".repeat(64)}"]` }], "client 0 ws"],
    "a poll that is not compressed though that would make it shorter": [[{ ...poll, packets: ["x".repeat(400)], headers: { ...poll.headers, "content-encoding": "gzip" } }], [{ ...poll, packets: ["x".repeat(400)] }], "client 0 poll"],
    "a refusal that nobody was refused with": [[["refused", 1, "Session ID unknown"]], [["refused", 3, "Bad request"], ["refused", 1, "Session ID unknown"]], "log"],
    "another version of WebSocket": [[{ ...refusal, headers: { ...refusal.headers, "sec-websocket-version": "13, 8" } }], [{ ...refusal, headers: { ...refusal.headers, "sec-websocket-version": "12" } }], "client 0 raw"],
    "an error of msgpack that is told otherwise": [[["error", "invalid payload"]], [["error", "malformed msgpack"]], "log"],
    "an error of msgpack that is another one": [[["error", "2 trailing bytes"]], [["error", "timeout"]], "log"],
    "a success that ends without a length": [[{ ...poll, headers: {} }], [{ ...poll, headers: { "content-length": "(size of the body)" } }], "client 0 poll"],
    "a refusal that is missing": [[{ kind: "frame", opcode: 1, text: '44/nope,{"message":"Invalid namespace"}' }], [], "client 0 ws"],
    "another packet that is missing at the end": [
      [{ kind: "frame", opcode: 1, text: '44/nope,{"message":"no"}' }, { kind: "frame", opcode: 8, code: 1005 }],
      [{ kind: "frame", opcode: 8, code: 1005 }],
      "client 0 ws",
    ],
    "another reason": [[["connection"], ["disconnect", "transport close", 0]], [["connection"], ["disconnect", "ping timeout", 0]], "log"],
    "rooms that are gone too early": [[["disconnecting", "transport close", ["a"]]], [["disconnecting", "transport close", []]], "log"],
  };
  for (const [what, [node, ours, where]] of Object.entries(rows)) {
    test(what, () => {
      let sides = [node, ours];
      const context = { where, step: { op: "send", packets: [{ text: "42[]" }] }, script: { steps: [{ packets: [{ text: "40" }, { text: "42" }] }], suite: "oracle-msgpack" }, known: new Set() };
      for (const { reconcile } of DIFFERENCES) sides = reconcile(...sides, context) ?? sides;
      assert.notDeepEqual(sides[0], sides[1]);
    });
  }
});

// Behind a fork a script is not compared any more, so it must be met by its own difference alone.
describe("a fork is met by its own difference and by no neighbour", () => {
  const isMet = (name, node, ours, context) => FORKS.filter((fork) => fork.name === name).some((fork) => fork.isMet(node, ours, { where: "client 0 poll", index: 1, log: {}, ...context }));
  const poll = (...packets) => ({ kind: "poll", status: 200, headers: {}, packets });
  const refusal = '44/nope,{"message":"Invalid namespace"}';
  const steps = [{ op: "send", c: 0, packets: [{ text: "40/nope," }, { text: "42/strange,[]" }] }, { op: "poll", c: 0 }];
  const told = { step: steps[1], script: { steps } };
  const broken = { step: { op: "poll", c: 0 }, log: { socket: [["error", "invalid payload"], ["disconnect", "forced close"]] } };
  const found = (...ids) => poll(`(msgpack) \u0082id 433${JSON.stringify(ids)}`);
  const goodbye = { step: { op: "send", c: 1, packets: [{ text: "1" }, { text: "42[]" }] }, script: { steps: [{ op: "open", c: 1, transport: "websocket" }] } };
  const surveyed = (isLate) => poll(`42/chat,["surveyed",${isLate}]`);
  const rows = {
    "the refusal alone": [true, "refusal-before-the-end", [poll(refusal)], [poll("6", "1")], told],
    "the refusal and something else": [false, "refusal-before-the-end", [poll(refusal, "42[]")], [poll("6", "1")], told],
    "a refusal that nobody asked for": [false, "refusal-before-the-end", [poll(refusal)], [poll("6", "1")], { ...told, script: { steps: [{ ...steps[0], packets: [{ text: "40/other," }, { text: "42[]" }] }, steps[1]] } }],
    "a refusal, and ours goes on": [false, "refusal-before-the-end", [poll(refusal)], [poll("6")], told],
    "who has broken the protocol is found by Node alone": [true, "violators-leave-at-once", [found("a", "b")], [found("a")], broken],
    "who has not is found by Node alone": [false, "violators-leave-at-once", [found("a", "b")], [found("a")], { ...broken, log: {} }],
    "what is said behind a goodbye is heard in Node alone": [true, "close-packet-over-websocket", [poll("42[1]", "42[2]")], [poll("42[1]")], goodbye],
    "what is said before it is heard in Node alone": [false, "close-packet-over-websocket", [poll("42[1]")], [], { ...goodbye, step: { ...goodbye.step, packets: goodbye.step.packets.toReversed() } }],
    "what is said behind it is heard by ours alone": [false, "close-packet-over-websocket", [poll("42[1]")], [poll("42[1]", "42[2]")], goodbye],
    "behind a goodbye by polling": [false, "close-packet-over-websocket", [poll("42[1]")], [], { ...goodbye, script: { steps: [{ op: "open", c: 1, transport: "polling" }] } }],
    "nobody waits for the answer of who has broken the protocol": [true, "violators-leave-at-once", [], [surveyed(false)], broken],
    "a survey gives up in Node alone": [true, "violators-leave-at-once", [surveyed(true)], [surveyed(false)], broken],
    "a survey gives up in ours alone": [false, "violators-leave-at-once", [surveyed(false)], [surveyed(true)], broken],
    "a survey gives up in both": [false, "violators-leave-at-once", [surveyed(true)], [surveyed(true)], broken],
    "a survey ends earlier though nobody has broken the protocol": [false, "violators-leave-at-once", [], [surveyed(false)], { ...broken, log: {} }],
    "somebody is found by ours alone": [false, "violators-leave-at-once", [found("a")], [found("a", "b")], broken],
  };
  for (const [what, [expected, ...row]] of Object.entries(rows)) test(what, () => assert.equal(isMet(...row), expected));
});

test("answers to polls differ in their sizes only where packets are spread over them in another way", () => {
  const { reconcile } = DIFFERENCES.find(({ name }) => name === "polls-joined");
  const polls = (...sizes) => sizes.map((size) => ({ kind: "poll", status: 200, headers: size > 1 ? { "content-encoding": "gzip" } : {}, packets: Array(size).fill("42[]") }));
  const isSame = (node, ours) => JSON.stringify(node) === JSON.stringify(ours);
  assert.ok(isSame(...reconcile(polls(1, 3), polls(3, 1))));
  assert.ok(!isSame(...reconcile(polls(3), polls(3).map((entry) => ({ ...entry, headers: {} })))));
  assert.ok(!isSame(...reconcile(polls(1, 3), polls(3))));
});

test("what is not compressed because that would not be shorter may stand elsewhere", () => {
  const { reconcile } = DIFFERENCES.find(({ name }) => name === "compressed-if-shorter");
  const [event, answer] = ["42/a,", "44/b,"].map((text) => ({ kind: "frame", opcode: 1, text: `${text}["abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"]` }));
  const context = { where: "client 0 ws" };
  assert.deepEqual(reconcile([{ ...event, rsv: 0x40 }, answer], [answer, event], context)[0], [event, answer]);
  const other = { ...event, text: event.text.toUpperCase() };
  assert.deepEqual(reconcile([{ ...event, rsv: 0x40 }, answer], [answer, other], context)[0], [{ ...event, rsv: 0x40 }, answer]);
});

test("sockets that no client has seen are held against those that heard the same", () => {
  const isSame = (one, other) => one === other;
  assert.deepEqual(paired({ "(unseen 0)": "a", "(unseen 1)": "b" }, { "(unseen 0)": "b", "(unseen 1)": "a" }, isSame), { "(unseen 0)": "a", "(unseen 1)": "b" });
  assert.deepEqual(paired({ "(unseen 0)": "a", "(unseen 1)": "b" }, { x: "y", "(unseen 0)": "c", "(unseen 1)": "a" }, isSame), { x: "y", "(unseen 0)": "a", "(unseen 1)": "c" });
  assert.deepEqual(paired({ "(unseen 0)": "a" }, { "(unseen 0)": "a", "(unseen 1)": "a" }, isSame), { "(unseen 0)": "a", "(unseen 1)": "a" });
  assert.deepEqual(paired({ "(unseen 0)": "a", "(unseen 1)": "a" }, { "(unseen 0)": "a" }, isSame), { "(unseen 0)": "a" });
});

test("an event named error is no broken packet", () => {
  const { reconcile } = DIFFERENCES.find(({ name }) => name === "violators-leave-at-once");
  const log = (...rows) => [["connection"], ["error", "x"], ...rows];
  const node = log(["error", "invalid payload"], ["any", "echo", 1], ["disconnect", "transport close", 0]);
  const ours = log(["any", "echo", 1], ["error", "invalid payload"], ["disconnect", "forced close", 0]);
  const [told, own] = reconcile(node, ours, { where: "log" });
  assert.deepEqual(told, own);
});
