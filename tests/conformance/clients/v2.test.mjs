// Clients of Socket.IO 2 (Engine.IO 3), which a server lets in with `allowEIO3`, beside one of today.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import io from "socket.io-client-v2";
import { connect, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { within } from "../harness/inbox.mjs";
import { PATIENT, suite } from "../harness/server.mjs";

const opened = new Set();
after(() => {
  for (const socket of opened) socket.io.close();
});

function old(server, namespace = "/", options = {}) {
  const socket = io(server.url + namespace, { reconnection: false, forceNew: true, ...options });
  opened.add(socket);
  return socket;
}

async function connectOld(server, namespace, options) {
  const socket = old(server, namespace, options);
  await within(new Promise((resolve, reject) => ["error", "connect_error"].map((name) => socket.once(name, reject)) && socket.once("connect", resolve)), "not connected");
  if (options?.transports?.length === 2 && socket.io.engine.transport.name !== "websocket") {
    await within(new Promise((resolve) => socket.io.engine.once("upgrade", resolve)), "no upgrade");
  }
  return socket;
}

const next = (socket, name) => within(new Promise((resolve) => socket.once(name, (...args) => resolve(args))), `no ${name}`);
const ask = (socket, ...args) => within(new Promise((resolve) => socket.emit(...args, (...answer) => resolve(answer))), `${args[0]}`);

for (const name of ["clients-v2", "clients-v2-recovery"]) {
  suite(name, `Socket.IO 2 clients, ${name}`, (server) => {
    const ways = { ...TRANSPORTS, "polling in base64": { transports: ["polling"], forceBase64: true } };
    for (const [way, options] of Object.entries(ways)) {
      test(`events, acknowledgements and binary: ${way}`, async () => {
        const socket = await connectOld(server, "/", options);
        const echoed = next(socket, "echo");
        socket.emit("echo", "h\u00e9 \u{1f600}", { a: [1, null] });
        assert.deepEqual((await echoed).slice(0, 2), ["h\u00e9 \u{1f600}", { a: [1, null] }]);
        assert.deepEqual(await ask(socket, "ack", 1, "two"), [1, "two"]);
        const back = next(socket, "bin");
        socket.emit("bin", Buffer.from([1, 2, 255]));
        assert.deepEqual(Buffer.from((await back)[0]), Buffer.from([1, 2, 255]));
        const asked = next(socket, "answer");
        socket.once("question", (value, reply) => reply(value + 1));
        socket.emit("askme", 41);
        assert.deepEqual((await asked).slice(0, 2), [true, 42]);
        const [me] = await ask(socket, "whoami");
        assert.equal(me.id, socket.id);
        socket.close();
      });
    }

    test("a namespace with a query", async () => {
      const socket = await connectOld(server, "/admin?token=a%20b&x=1");
      const [me] = await ask(socket, "whoami");
      assert.deepEqual(me.auth, { token: "a b", x: "1" });
      socket.close();
    });

    // Such a client makes up the ids of its sockets by itself: that of its session, behind the namespace unless that is `/`.
    test("what a client calls itself reaches it in any namespace", async () => {
      for (const namespace of ["/", "/admin"]) {
        const [me, other] = [await connectOld(server, namespace), await connectOld(server, namespace)];
        const { id } = me;
        assert.equal(id, namespace === "/" ? me.io.engine.id : `${namespace}#${me.io.engine.id}`);
        assert.equal((await ask(me, "peers", id))[0].length, 1);
        const [mine, others] = [next(me, "told"), next(other, "told")];
        other.emit("room", id, "told", "me alone");
        assert.equal((await mine)[0], "me alone");
        assert.equal((await ask(me, "rooms"))[0].length, 1, "it is no room beside that of its id");
        for (const socket of [me, other]) await ask(socket, "join", "both");
        other.emit("except", "both", id, "told", "the other");
        assert.equal((await others)[0], "the other");
        other.emit("disconnect_room", id);
        assert.deepEqual(await next(me, "disconnect"), ["io server disconnect"]);
        assert.deepEqual((await ask(other, "peers", id))[0], []);
        other.close();
      }
    });

    test("what a middleware says is plain data, an unknown namespace an object", async () => {
      assert.deepEqual(await next(old(server, "/guarded"), "error"), ["refused"]);
      assert.deepEqual(await next(old(server, "/guarded?why=so"), "error"), [{ why: "so" }]);
      assert.deepEqual(await next(old(server, "/nowhere"), "error"), [{ message: "Invalid namespace" }]);
    });

    test("the server disconnects", async () => {
      const socket = await connectOld(server);
      const gone = next(socket, "disconnect");
      socket.emit("kickme");
      assert.deepEqual(await gone, ["io server disconnect"]);
    });

    test("a broadcast reaches clients of both protocols", async () => {
      const [web, base64, poll] = await Promise.all([
        connectOld(server, "/", { transports: ["websocket"] }),
        connectOld(server, "/", { transports: ["websocket"], forceBase64: true }),
        connectOld(server, "/", { transports: ["polling"] }),
      ]);
      const modern = await connect(server, TRANSPORTS["WebSocket only"]);
      const inbox = listen(modern, "news");
      const heard = [web, base64, poll].map((socket) => next(socket, "news"));
      modern.emit("all", "news", Buffer.from([7, 8]));
      for (const [data] of [...(await Promise.all(heard)), await inbox.next()]) {
        assert.deepEqual(Buffer.from(data), Buffer.from([7, 8]));
      }
      assert.equal(await emitWithAck(modern, "ack", "alive"), "alive");
      for (const socket of [web, base64, poll]) socket.close();
    });
  });
}

suite("clients", "Socket.IO 2 clients where they are not allowed", (server) => {
  test("they are refused with code 5", async () => {
    const answer = await fetch(`${server.url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(answer.status, 400);
    assert.deepEqual(await answer.json(), { code: 5, message: "Unsupported protocol version" });
  });
});

// A GET is to be answered with what was sent, and not with a ping too.
suite(["engine-v3", ...PATIENT, "--ping-interval", "60000"], "JSONP polling", (server) => {
  for (const EIO of [3, 4]) {
    test(`a session by scripts, EIO=${EIO}`, async () => {
      const base = `${server.url}/engine.io/?EIO=${EIO}&transport=polling&j=2x`;
      const get = async (url) => {
        const answer = await fetch(url);
        assert.equal(answer.headers.get("content-type"), "text/plain; charset=UTF-8");
        const [, literal] = /^___eio\[2\]\((".*")\);$/s.exec(await answer.text());
        return JSON.parse(literal);
      };
      const open = await get(base);
      const { sid } = JSON.parse(open.slice(open.indexOf("{")));
      const message = "4a\nb\\nc\u2028";
      const packet = EIO === 3 ? `${message.length}:${message}` : message;
      const d = encodeURIComponent(packet.replaceAll("\\n", "\\\\n").replaceAll("\n", "\\n"));
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const post = await fetch(`${base}&sid=${sid}`, { method: "POST", headers, body: `d=${d}` });
      assert.equal(await post.text(), "ok");
      assert.equal(await get(`${base}&sid=${sid}`), packet);
    });
  }

  test("a malformed body closes its sender only", async () => {
    const open = async () => JSON.parse(/\{.*\}/.exec(await (await fetch(`${server.url}/engine.io/?EIO=3&transport=polling`)).text())[0]).sid;
    const url = (sid) => `${server.url}/engine.io/?EIO=3&transport=polling&sid=${sid}`;
    const [bad, good] = [await open(), await open()];
    await (await fetch(url(bad), { method: "POST", body: "99:4x" })).text();
    assert.equal((await fetch(url(bad))).status, 400);
    assert.equal(await (await fetch(url(good), { method: "POST", body: "2:4x" })).text(), "ok");
    assert.equal(await (await fetch(url(good))).text(), "2:4x");
  });
});
