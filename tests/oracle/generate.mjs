// One seed, one script: what several clients do to a server, most of it sensible, some of it not.
//
// A script is plain data (`{ seed, suite, clients, steps: [{ op, c, ... }] }`) with every choice made, so that a step can
// be left out without changing the others: that is how a failing script is cut short.

import { badFrames, badMsgpack, badPackets, oddBytes, oddRequests } from "./oddities.mjs";
import { Random } from "./random.mjs";

export const SUITES = ["oracle", "oracle-old", "oracle-recovery", "oracle-msgpack", "oracle-deflate"];
const ROOMS = ["red", "green", "blue"];
/** How often a script does what ends a client, or is beside the point, against once for everything else. */
const TEMPERS = [0.1, 0.4, 1.5];
const NAMESPACES = ["/", "/chat", "/guarded", "/dyn-1", "/dyn-22"];
const ENCODINGS = ["gzip", "deflate", "gzip, deflate, br", "br", "deflate;q=1, gzip;q=0.5", "gzip;q=0, deflate", "*", "identity"];
/** What a client offers for its WebSockets, in the suite that compresses. */
const OFFERS = [
  "permessage-deflate; client_max_window_bits",
  "permessage-deflate; client_max_window_bits",
  "permessage-deflate",
  "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
  "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12",
  "permessage-deflate; server_max_window_bits=7, permessage-deflate",
  "x-webkit-deflate-frame, permessage-deflate",
  "permessage-deflate; unknown_one",
];
/** Events without a name that an event may have. */
const NAMELESS = /^4(?:2|5\d+-)\[(\]|null|\[|\{|"(connect|disconnecting|newListener)")/;
const NAMES = ["news", "chat message", "a/b", "ünïcode", "x"];

export function generate(seed, suite = SUITES[seed % SUITES.length]) {
  const random = new Random(seed);
  const clients = 1 + random.below(4);
  const writer = new Writer(random, suite, clients);
  const count = 8 + random.below(34);
  while (writer.steps.length < count) writer.step();
  return { seed, suite, clients, steps: writer.steps.map(withoutWorkBehindAQuestion) };
}

/** `fetchSockets` answers between two packets in Node, and when all shards have answered here: nothing is behind it in the same delivery. */
function withoutWorkBehindAQuestion(step) {
  const at = step.packets?.findIndex(({ text }) => /\["(count|peers)"/.test(text ?? "")) ?? -1;
  return at < 0 ? step : { ...step, packets: step.packets.slice(0, at + 1) };
}

class Writer {
  steps = [];
  #random;
  #suite;
  #temper;
  /** What each client probably is by now: what it does next should make sense more often than not. */
  #guesses;

  constructor(random, suite, clients) {
    this.#random = random;
    this.#suite = suite;
    this.#temper = random.pick(TEMPERS);
    this.#guesses = Array.from({ length: clients }, () => ({ transport: undefined, joined: [], rooms: [] }));
  }

  step() {
    const random = this.#random;
    const c = random.below(this.#guesses.length);
    const guess = this.#guesses[c];
    if (guess.transport === undefined) return this.#open(c, guess);
    const add = (step) => this.steps.push({ c, ...step });
    const rows =
      guess.joined.length === 0
        ? [
            [10, () => this.#connect(c, guess)],
            [this.#temper, () => this.#spoil(c, guess)],
          ]
        : [
            [16, () => add(this.#compressed({ op: "send", packets: this.#packets(guess) }))],
            [3, () => this.#connect(c, guess)],
            [2, () => add({ op: "answer", json: random.pick(["[]", "[1]", '["yes",{"a":[null]}]']), ...(random.chance(0.2) ? { isTwice: true } : {}) })],
            [this.#temper, () => this.#leaveNamespace(c, guess)],
            [this.#temper, () => this.#spoil(c, guess)],
          ];
    if (guess.joined.length > 0) rows.push([2, () => this.#gather(random.pick(guess.joined))]);
    rows.push([this.#temper, () => add({ op: "request", ...this.#request(guess) })]);
    rows.push([this.#temper / 2, () => add({ op: "raw", ...random.pick(oddBytes) })]);
    if (guess.transport === "polling") {
      rows.push(
        [6, () => add({ op: "poll" })],
        [1.5, () => this.#upgrade(c, guess)],
        [1, () => this.#probe(c)],
        [this.#temper, () => this.#oddPost(c, guess)],
        [this.#temper / 3, () => add({ op: "overlap" })],
        [this.#temper / 3, () => this.#gone(c, guess, { op: "abort" })],
        [this.#temper / 2, () => this.#gone(c, guess, { op: "send", packets: [{ text: "1" }] })],
      );
    } else {
      rows.push(
        [this.#temper / 2, () => this.#gone(c, guess, { op: "drop", how: random.pick(["close", "fin", "reset"]) })],
        [this.#temper / 2, () => this.#gone(c, guess, { op: "frames", frames: this.#frames(guess) })],
        [this.#temper / 3, () => add({ op: "poll" })],
      );
    }
    random.weighted(rows)();
  }

  /** Everybody in a namespace goes to some rooms, and one of them speaks to those rooms or asks who is there. */
  #gather(namespace) {
    const random = this.#random;
    const present = this.#guesses.flatMap((guess, c) => (guess.transport !== undefined && guess.joined.includes(namespace) ? [c] : []));
    for (const c of present) {
      const packets = ROOMS.filter(() => random.chance(0.6)).flatMap((room) => encodeEvent(namespace, "", ["join", room]));
      if (random.chance(0.4)) packets.push(...encodeEvent(namespace, "", ["keep", random.pick([1, "kept", { a: [1] }])]));
      if (packets.length > 0) this.steps.push({ op: "send", c, packets });
    }
    const room = () => random.pick(ROOMS);
    const [id, args] = random.weighted([
      [3, () => ["", ["mixed", room(), room(), room(), room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["", ["except", room(), room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["", ["two", room(), room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["", ["others", room(), random.pick(NAMES), ...this.#values()]]],
      [3, () => ["3", ["peers", room()]]],
      [1, () => ["", ["survey", room(), random.chance(0.7), ...this.#values()]]],
    ])();
    const c = random.pick(present);
    this.steps.push({ op: "send", c, packets: encodeEvent(namespace, id, args) });
    for (const other of present) if (this.#guesses[other].transport === "polling" && random.chance(0.8)) this.steps.push({ op: "poll", c: other });
  }

  #open(c, guess) {
    const random = this.#random;
    const transport = random.pick(["polling", "websocket"]);
    const step = { op: "open", c, transport };
    if (this.#suite === "oracle-old" && random.chance(0.5)) {
      step.eio = 3;
      if (transport === "polling" && random.chance(0.4)) step.query = { ...step.query, b64: "1" };
    }
    if (transport === "polling" && random.chance(this.#suite === "oracle-old" ? 0.2 : 0.05)) {
      step.query = { ...step.query, j: random.pick(["0", "12"]) };
      // A script carries no bytes; clients of revision 3 say so.
      if (step.eio === 3) step.query.b64 = "1";
    }
    if (random.chance(0.2)) step.query = { ...step.query, token: random.pick(["a b", "ü&=", ""]) };
    if (random.chance(0.3)) step.headers = random.pick([{ Origin: "http://a.test" }, { Origin: "http://b.test" }, { "User-Agent": "a ;MSIE b" }, { "X-Test": "1" }]);
    if (random.chance(0.25)) step.headers = { ...step.headers, "Accept-Encoding": random.pick(ENCODINGS) };
    if (random.chance(0.4)) step.isKept = true;
    if (this.#suite === "oracle-deflate" ? random.chance(0.8) : random.chance(0.1)) step.offer = random.pick(OFFERS);
    this.steps.push(step);
    Object.assign(guess, { transport, eio: step.eio ?? 4, joined: [], rooms: [] });
    if (step.eio === 3) guess.joined.push("/");
    if (random.chance(0.8)) this.#connect(c, guess);
  }

  #connect(c, guess) {
    const random = this.#random;
    const isWrong = random.chance(this.#temper / 10);
    const namespace = isWrong ? random.pick(["/nope", "/dyn-x", "/Chat"]) : random.weighted([[5, "/"], [3, "/chat"], [2, "/guarded"], [1, "/dyn-1"], [1, "/dyn-22"]]);
    const auth = {};
    if (random.chance(0.3)) auth.greet = random.pick(["hi", 5, null, ["a"], { a: "ü" }]);
    if (random.chance(0.5)) auth.join = random.pick(ROOMS);
    if (random.chance(this.#temper / 25)) auth.bye = random.chance(0.5);
    if (namespace === "/guarded" && random.chance(0.2)) {
      auth.refuse = random.pick(["no", ""]);
      if (random.chance(0.5)) auth.why = random.pick(["because", { code: 1 }, null]);
    }
    const isRefused = isWrong || auth.refuse !== undefined || auth.bye !== undefined;
    const isJoined = guess.joined.includes(namespace);
    // A second CONNECT ends the client; once in a while that is wanted.
    if (isJoined && !random.chance(this.#temper / 10)) return;
    if (auth.join !== undefined) guess.rooms.push(auth.join);
    const step = { op: "send", c, packets: [{ text: this.#connectText(namespace, auth, guess.eio) }] };
    if (this.#suite === "oracle-recovery" && guess.eio === 4 && random.chance(0.6)) {
      step.recover = namespace;
      if (!step.packets[0].text.includes("{")) step.packets[0].text += namespace === "/" ? "{}" : "{}";
    }
    if (random.chance(0.15) && !isRefused && guess.transport === "polling") {
      // In one body with what follows, which is too early: nothing is joined yet while middlewares run.
      step.packets.push(...this.#packets({ ...guess, joined: [namespace] }));
    }
    this.steps.push(step);
    if (!isRefused && !isJoined) guess.joined.push(namespace);
    if (isJoined || auth.bye === true) this.#reset(guess);
    if (guess.transport === "polling" && random.chance(0.7)) this.steps.push({ op: "poll", c });
  }

  #connectText(namespace, auth, eio) {
    const isMain = namespace === "/";
    const json = Object.keys(auth).length > 0 ? JSON.stringify(auth) : "";
    if (eio === 4) return `40${isMain ? "" : `${namespace},`}${json}`;
    const texts = Object.entries(auth).filter(([, value]) => typeof value === "string");
    const query = new URLSearchParams(texts).toString();
    return `40${namespace}${query ? `?${query}` : ""}${isMain && !query ? "" : ","}`;
  }

  #leaveNamespace(c, guess) {
    const random = this.#random;
    const namespace = random.pick(guess.joined);
    guess.joined = guess.joined.filter((one) => one !== namespace);
    const packets = [{ text: `41${namespace === "/" ? "" : `${namespace},`}` }];
    // An event before it is lost, one behind it is a violation.
    if (random.chance(0.2)) packets.unshift(...this.#event(namespace));
    if (random.chance(0.1)) packets.push(...this.#event(namespace));
    this.steps.push({ op: "send", c, packets });
  }

  /** One packet may travel compressed; Node reads the next one a tick later then, so that several are no longer one delivery. */
  #compressed(step) {
    const isOne = step.packets.filter(({ text }) => text !== undefined).length === 1;
    return this.#suite === "oracle-deflate" && isOne && this.#random.chance(0.6) ? { ...step, isDeflated: true } : step;
  }

  #packets(guess) {
    const random = this.#random;
    const packets = [];
    if (guess.joined.length === 0) return this.#event("/");
    do packets.push(...this.#event(random.pick(guess.joined), guess));
    while (!/\["(count|peers)"/.test(packets.at(-1).text) && random.chance(0.3));
    return packets;
  }

  /** One event for the handlers of `handlers.mjs`, with its attachments. */
  #event(namespace, guess = { rooms: [] }) {
    const random = this.#random;
    // Rooms that it has been in are worth asking about.
    const room = () => random.pick(guess.rooms.length > 0 && random.chance(0.7) ? guess.rooms : ROOMS);
    const joined = () => {
      const one = room();
      guess.rooms.push(one);
      return one;
    };
    const asked = random.chance(0.7);
    const [name, args] = random.weighted([
      [5, () => ["echo", this.#values()]],
      [7, () => ["ack", this.#values()]],
      [3, () => ["join", [joined()]]],
      [2, () => ["leave", [room()]]],
      [1, () => ["rooms", []]],
      [2, () => ["all", [random.pick(NAMES), ...this.#values()]]],
      [2, () => ["broadcast", [random.pick(NAMES), ...this.#values()]]],
      [4, () => ["room", [room(), random.pick(NAMES), ...this.#values()]]],
      [3, () => ["others", [room(), random.pick(NAMES), ...this.#values()]]],
      [2, () => ["except", [room(), room(), random.pick(NAMES), ...this.#values()]]],
      [2, () => ["two", [room(), room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["move", [room(), room()]]],
      [1, () => ["out", [room(), room()]]],
      [1, () => ["count", [room()]]],
      [1, () => ["whoami", []]],
      [1.5, () => ["mixed", [room(), room(), room(), room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["loose", [room(), random.pick(NAMES), ...this.#values()]]],
      [1, () => ["keep", [random.pick([1, "kept", null, { a: [1] }])]]],
      [1, () => ["peers", [room()]]],
      [0.5, () => ["hurry", this.#values()]],
      [0.5, () => ["survey", [room(), random.chance(0.7), ...this.#values()]]],
      [this.#temper / 6, () => ["spare", [room(), random.chance(0.5)]]],
      [2, () => ["ask", this.#values()]],
      [1, () => ["three", []]],
      [1, () => ["blob", [random.pick([0, 1, 3, 200, 70_000])]]],
      [0.5, () => ["big", [random.pick([10, 125, 126, 900, 40_000])]]],
      [1, () => ["fleeting", this.#values()]],
      [0.5, () => ["blocked", ["it"]]],
      [0.5, () => ["nobody listens", this.#values()]],
      [this.#temper / 3, () => ["bye", [random.chance(0.5)]]],
      [this.#temper / 3, () => ["kick", [room(), random.chance(0.5)]]],
    ])();
    // A question without an answer would be asked with the handler's own.
    const needsAck = ["rooms", "count", "whoami", "peers"].includes(name);
    const id = (asked && !["ask", "hurry", "survey"].includes(name)) || needsAck ? String(random.pick([0, 1, 7, 123456])) : "";
    return encodeEvent(namespace, id, [name, ...args]);
  }

  #values() {
    const random = this.#random;
    const count = random.weighted([[3, 1], [2, 0], [2, 2], [1, 4]]);
    return Array.from({ length: count }, () => this.#value(0));
  }

  #value(depth) {
    const random = this.#random;
    return random.weighted([
      [3, () => random.pick(["", "a", "hello", "ünï€𝄞", 'q"\\/', "\n\u2028\x1f", "4:5"])],
      [3, () => random.pick([0, 1, -1, 1.5, 1e21, 123456789012, -0.25])],
      [1, () => random.pick([true, false, null])],
      [depth > 2 ? 0 : 1.5, () => Array.from({ length: random.below(3) }, () => this.#value(depth + 1))],
      [depth > 2 ? 0 : 1.5, () => Object.fromEntries(Array.from({ length: random.below(3) }, () => [random.pick(["a", "b", "num", "ü"]), this.#value(depth + 1)]))],
      [1, () => Buffer.from(random.pick(["", "00", "010203", "ff".repeat(130)]), "hex")],
    ])();
  }

  #spoil(c, guess) {
    const random = this.#random;
    let packets;
    // The parser of msgpack has no rules for the names of events, ours has those of the default one: see DIFFERENCES.md.
    const isAllowed = ([{ text = "" }]) => !(guess.eio === 3 && /^(b|40\/(\/|chat\{))/.test(text)) && !(this.#suite === "oracle-msgpack" && NAMELESS.test(text));
    // In revision 3 `b` is followed by a packet type and a namespace is parsed as a URL: see DIFFERENCES.md.
    const bad = this.#suite === "oracle-msgpack" ? [...badPackets, ...badMsgpack] : badPackets;
    do packets = [random.pick(bad)].flat();
    while (!isAllowed(packets));
    // Over polling, what Node does with events in front of a broken packet depends on whether a GET waits.
    if (guess.transport === "websocket" && random.chance(0.4)) packets.unshift(...this.#packets(guess));
    // Whether there is a namespace is asked of the application: what ends the session behind such a CONNECT is quicker.
    const isAsking = /^40\/./.test(packets.at(-1).text ?? "");
    if (!isAsking && random.chance(0.4)) packets.push(...this.#packets(guess));
    this.steps.push({ op: "send", c, packets });
    if (random.chance(0.6)) this.#reset(guess);
  }

  #oddPost(c, guess) {
    const random = this.#random;
    const add = (step) => this.steps.push({ c, ...step });
    random.pick([
      () => add({ op: "post", size: 20_000 }),
      () => add({ op: "post", size: 20_001 }),
      () => add({ op: "post", size: 50_000, isChunked: true }),
      () => add({ op: "post", body: "3", isChunked: true }),
      () => add({ op: "post", body: "3", headers: { Origin: "http://a.test" } }),
      () => this.#gone(c, guess, { op: "post", body: "" }),
      () => this.#gone(c, guess, { op: "post", body: "3", headers: { "Content-Type": "application/octet-stream" } }),
      () => add({ op: "post", body: "3", headers: { "Content-Type": "application/octet-stream; a=b" } }),
      () => {
        add({ op: "postBegin", body: "3", size: 0 });
        this.#gone(c, guess, { op: random.pick(["postOverlap", "postAbort"]) });
      },
      () => {
        let event;
        do event = this.#event("/");
        while (event.length > 1);
        const [{ text }] = event;
        add({ op: "postBegin", body: text, size: random.below(text.length) });
        this.step();
        add({ op: "postEnd" });
      },
    ])();
  }

  #upgrade(c, guess) {
    this.steps.push({ op: "upgrade", c });
    guess.transport = "websocket";
  }

  #probe(c) {
    const random = this.#random;
    this.steps.push({ op: "probe", c });
    for (let count = random.below(3); count > 0; count -= 1) {
      this.steps.push({ op: "probeSend", c, text: random.weighted([[5, "2probe"], [1, "5"], [1, "2"], [1, "3"], [1, "4x"], [1, "6"], [1, ""], [1, "2prob"], [1, "x"]]) });
    }
    if (random.chance(0.7)) this.steps.push({ op: "probeDrop", c });
  }

  /** What names another revision than 4 is an ordinary GET for a client of revision 3. */
  #request(guess) {
    const isPoll = ({ query = "" }) => query.includes("sid=$sid") && !query.startsWith("EIO=4&");
    return this.#random.pick(guess.eio === 3 ? oddRequests.filter((request) => !isPoll(request)) : oddRequests);
  }

  /** In revision 3 binary frames begin with a packet type. */
  #frames(guess) {
    const isBinary = (frames) => frames.some(({ opcode }) => opcode === 2);
    return this.#random.pick(guess.eio === 3 ? badFrames.filter((frames) => !isBinary(frames)) : badFrames);
  }

  #gone(c, guess, step) {
    this.steps.push({ c, ...step });
    if (this.#random.chance(0.7)) this.#reset(guess);
  }

  #reset(guess) {
    Object.assign(guess, { transport: undefined, joined: [], rooms: [] });
  }
}

/** An event as packets: text, and a packet for each buffer in it. */
export function encodeEvent(namespace, id, args) {
  const attachments = [];
  const json = JSON.stringify(args, function replace(key, value) {
    // `Buffer.toJSON` has been called by now: look at what it was.
    const original = this[key];
    if (!Buffer.isBuffer(original)) return value;
    attachments.push({ base64: original.toString("base64") });
    return { _placeholder: true, num: attachments.length - 1 };
  });
  const kind = attachments.length > 0 ? `45${attachments.length}-` : "42";
  return [{ text: `${kind}${namespace === "/" ? "" : `${namespace},`}${id}${json}` }, ...attachments];
}
