// The examples of the crate, each as its own first lines describe it, with the official client.
//
// RINGIO_EXAMPLES is the folder of the built examples (`cargo build --examples` puts them into target/debug/examples).

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { makeCertificates } from "../harness/certificates.mjs";
import { client, close, connect, connected, emitWithAck, listen } from "../harness/client.mjs";
import { eventually, Inbox } from "../harness/inbox.mjs";
import { cannotRun, ServerUnderTest } from "../harness/server.mjs";

const FOLDER = process.env.RINGIO_EXAMPLES;

/** Tests of one example, with a server of its own. On the Node server there is nothing to test. */
function example(name, body, options = []) {
  if (!process.env.RINGIO_SERVER) return;
  const program = `${FOLDER}/${name}`;
  const missing = !existsSync(program) && cannotRun(`${program} is not built: cargo build -p ringio --examples, and set RINGIO_EXAMPLES`);
  describe(`example ${name}`, { skip: missing, timeout: 600_000 }, () => {
    const server = new ServerUnderTest({ name, command: [program], options });
    before(() => server.start());
    after(() => server.stop());
    body(server);
  });
}

const certificates = process.env.RINGIO_SERVER ? makeCertificates() : undefined;
const files = certificates ? ["--chain", `${certificates.folder}/chain.pem`, "--key", `${certificates.folder}/key.pem`, "--plain-port", "0"] : [];

example("https", (server) => {
  test("a client comes encrypted", async () => {
    server.scheme = "https";
    const socket = await connect(server, { ca: certificates.ca });
    assert.equal(await emitWithAck(socket, "hello"), "encrypted");
    close(socket);
  });
}, files);

async function refusal(server, options) {
  const socket = client(server, options);
  const failed = once(socket, "connect_error");
  socket.connect();
  const [error] = await failed;
  close(socket);
  return error;
}

example("rooms", (server) => {
  test("rooms are joined, left, spoken to, listed and closed", async () => {
    const [one, two, three] = await Promise.all([connect(server), connect(server), connect(server)]);
    const said = [one, two, three].map((socket) => listen(socket, "said"));
    assert.deepEqual(new Set(await emitWithAck(one, "join", "a")), new Set([one.id, "a"]));
    await emitWithAck(two, "join", "a");
    await emitWithAck(two, "join", "b");
    await emitWithAck(three, "join", "b");
    one.emit("say", "a", "hello");
    assert.deepEqual(await said[1].next(), [one.id, "hello"]);
    one.emit("shout", ["a", "b"], "all");
    for (const inbox of said) assert.deepEqual(await inbox.next(), [one.id, "all"]);
    assert.deepEqual(await emitWithAck(one, "members", "b"), [two.id, three.id].sort());
    assert.deepEqual(new Set(await emitWithAck(two, "leave", "a")), new Set([two.id, "b"]));
    const closed = listen(three, "room closed");
    const left = listen(three, "left");
    two.emit("close room", "b");
    assert.deepEqual(await closed.next(), ["b"]);
    assert.deepEqual(await emitWithAck(one, "members", "b"), []);
    await emitWithAck(three, "join", "a");
    const { id } = one;
    one.disconnect();
    assert.deepEqual(await left.next(), [id, "a"]);
    close(two, three);
  });
});

example("private_messages", (server) => {
  test("all tabs of both users but the sending one hear a private message", async () => {
    const as = (username) => client(server, { auth: { username } });
    assert.equal((await refusal(server, { auth: {} })).message, "invalid username");
    const ada = as("ada");
    const users = listen(ada, "users");
    await connected(ada);
    assert.deepEqual(await users.next(), [["ada"]]);
    const news = listen(ada, "user connected");
    const gone = listen(ada, "user disconnected");
    const [tab, other] = [as("bob"), as("bob")];
    await connected(tab);
    assert.deepEqual(await news.next(), ["bob"]);
    await connected(other);
    const heard = [ada, other, tab].map((socket) => listen(socket, "private message"));
    assert.equal(await emitWithAck(tab, "private message", "ada", "psst"), true);
    assert.deepEqual(await heard[0].next(), ["bob", "psst"]);
    assert.deepEqual(await heard[1].next(), ["bob", "psst"]);
    assert.equal(await emitWithAck(tab, "private message", "nobody", "psst"), false);
    assert.equal(heard[2].size, 0);
    other.disconnect();
    tab.disconnect();
    assert.deepEqual(await gone.next(), ["bob"]);
    assert.equal(news.size, 0, "the second tab was no news");
    close(ada);
  });
});

function token(claims, secret = "secret") {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

example("auth_jwt", (server) => {
  const now = () => Math.floor(Date.now() / 1000);
  const enter = (claims, namespace, secret) => ({ namespace, auth: { token: token(claims, secret) } });

  test("who has no valid token is told why", async () => {
    for (const [options, reason] of [
      [{ auth: {} }, "no token"],
      [enter({ sub: "ada", exp: now() + 60 }, "/", "another secret"), "InvalidSignature"],
      [enter({ sub: "ada", exp: now() - 60 }, "/"), "ExpiredSignature"],
      [{ auth: { token: "a.b" } }, "InvalidToken"],
    ]) {
      const error = await refusal(server, options);
      assert.equal(error.message, "unauthorized");
      assert.match(error.data.reason, new RegExp(reason));
    }
  });

  test("claims reach the handlers, scopes guard a namespace, and a token's end is the session's", async () => {
    const ada = await connect(server, enter({ sub: "ada", exp: now() + 3600 }, "/"));
    assert.deepEqual(await emitWithAck(ada, "whoami"), { sub: "ada", scope: "" });
    close(ada);
    assert.equal((await refusal(server, enter({ sub: "ada", exp: now() + 3600 }, "/admin"))).message, "forbidden");
    const admin = client(server, enter({ sub: "root", exp: now() + 6, scope: "admin" }, "/admin"));
    const expired = listen(admin, "token expired");
    const disconnected = once(admin, "disconnect");
    await connected(admin);
    assert.deepEqual(await expired.next(), []);
    assert.equal((await disconnected)[0], "io server disconnect");
  });
});

example("typed_events", (server) => {
  test("an order is numbered, announced, confirmed", async () => {
    const [buyer, watcher] = await Promise.all([connect(server), connect(server)]);
    const [placed, confirmed] = [listen(watcher, "order placed"), listen(watcher, "confirmed")];
    buyer.on("confirm", (number, answer) => answer(number === 1));
    const order = { item: "tea", quantity: 2 };
    assert.equal(await emitWithAck(buyer, "order", order), 1);
    assert.deepEqual(await placed.next(), [1, order]);
    assert.deepEqual(await confirmed.next(), [1]);
    assert.equal(await emitWithAck(buyer, "order", order), 2);
    await placed.next();
    buyer.emit("order", "not an order");
    assert.equal(await emitWithAck(buyer, "order", order), 3, "what is no order reaches no listener");
    assert.equal(confirmed.size, 0);
    close(buyer, watcher);
  });
});

example("recovery", (server) => {
  test("a client that was cut off misses nothing", async () => {
    const socket = client(server, { reconnection: true, reconnectionDelay: 1500, transports: ["websocket"] });
    // Not `listen`: that ends with the connection.
    const [hellos, ticks] = [new Inbox(), new Inbox()];
    socket.on("hello", (...args) => hellos.push(args));
    socket.on("tick", (...args) => ticks.push(args));
    await connected(socket);
    assert.deepEqual((await hellos.next()).slice(0, 2), [1, false]);
    const [first] = await ticks.next();
    const { id } = socket;
    socket.emit("cut");
    assert.deepEqual((await hellos.next()).slice(0, 2), [2, true]);
    assert.equal(socket.id, id);
    assert.equal(socket.recovered, true);
    const later = await ticks.take(3);
    assert.deepEqual(later.map(([number]) => number), [first + 1, first + 2, first + 3]);
    close(socket);
  });
});

example("upload", (server) => {
  test("pieces are acknowledged, and the whole has the right sum", async () => {
    const socket = await connect(server);
    const done = listen(socket, "uploaded");
    const file = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
    const number = await emitWithAck(socket, "upload", { name: "a.bin", size: file.length });
    for (let at = 0; at < file.length; at += 65_536) {
      const piece = file.subarray(at, at + 65_536);
      const progress = await emitWithAck(socket, "piece", number, piece);
      assert.deepEqual(progress, { received: at + piece.length, size: file.length });
    }
    const sum = file.reduce((total, byte) => total + byte, 0);
    assert.deepEqual(await done.next(), [{ name: "a.bin", size: file.length, sum }]);
    close(socket);
  });

  test("what does not fit the announcement is refused", async () => {
    const socket = await connect(server);
    const [large, small] = [2 ** 40, 4];
    assert.match((await emitWithAck(socket, "upload", { name: "x", size: large })).error, /too large/);
    const number = await emitWithAck(socket, "upload", { name: "x", size: small });
    assert.match((await emitWithAck(socket, "piece", number, Buffer.alloc(5))).error, /longer/);
    assert.match((await emitWithAck(socket, "piece", number, Buffer.alloc(1))).error, /no such/);
    close(socket);
  });
});

example("dynamic_namespaces", (server) => {
  test("a workspace is there while somebody is in it", async () => {
    const main = await connect(server);
    const enter = (namespace) => client(server, { namespace, auth: { member: true } });
    assert.equal((await refusal(server, { namespace: "/workspace-1" })).message, "members only");
    assert.equal((await refusal(server, { namespace: "/workspace-x", auth: { member: true } })).message, "Invalid namespace");
    const [one, other] = [enter("/workspace-1"), enter("/workspace-2")];
    const welcomes = listen(one, "welcome");
    await connected(one);
    assert.deepEqual(await welcomes.next(), ["/workspace-1", 1]);
    await connected(other);
    const [posts, announcements] = [listen(one, "post"), [one, other].map((socket) => listen(socket, "announcement"))];
    other.emit("post", "elsewhere");
    one.emit("post", "here");
    assert.deepEqual(await posts.next(), ["here"]);
    main.emit("announce", "all");
    for (const inbox of announcements) assert.deepEqual(await inbox.next(), ["all"]);
    assert.deepEqual(await emitWithAck(main, "workspaces"), ["/workspace-1", "/workspace-2"]);
    one.disconnect();
    const left = await eventually(() => emitWithAck(main, "workspaces"), (all) => all.length === 1, "the first one stays");
    assert.deepEqual(left, ["/workspace-2"]);
    close(main, other);
  });
});

example("tutorial", (server) => {
  test("what is sent again is stored once, and who was away hears what came behind its offset", async () => {
    const one = client(server, { auth: { serverOffset: 0 } });
    Object.assign(one._opts, { ackTimeout: 10_000, retries: 3 });
    await connected(one);
    const heard = listen(one, "chat message");
    one.emit("chat message", "hello", "one-0");
    // Recovery adds its own offset behind the arguments.
    assert.deepEqual((await heard.next()).slice(0, 2), ["hello", 1]);
    const two = await connect(server);
    assert.equal(await emitWithAck(two, "chat message", "hello", "one-0"), undefined);
    await emitWithAck(two, "chat message", "world", "two-0");
    assert.deepEqual((await heard.next()).slice(0, 2), ["world", 2], "and not hello once more");
    const three = client(server, { auth: { serverOffset: 1 } });
    const missed = listen(three, "chat message");
    await connected(three);
    assert.deepEqual((await missed.next()).slice(0, 2), ["world", 2]);
    await emitWithAck(two, "chat message", "end", "two-1");
    assert.deepEqual((await missed.next()).slice(0, 2), ["end", 3]);
    for (const socket of [one, two, three]) close(socket);
  });
});
