// What handlers learn of a client's first request, and what the official client's own tests ask of a server besides.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { client, close, connect, connected, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { within } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const refusal = async (socket) => {
  const error = once(socket, "connect_error");
  socket.connect();
  return (await within(error, "not refused"))[0].message;
};

/** With recovery an offset follows the arguments. */
const first = ([argument]) => argument;

suite("client", "the handshake", (server) => {
  for (const [way, transport] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("headers, address, time and URL are those of the first request, whatever came after", async () => {
        const began = Date.now();
        const socket = await connect(server, { ...transport, extraHeaders: { "X-Token": "abc", Origin: "http://elsewhere.test" } });
        const seen = await emitWithAck(socket, "getHandshake");
        assert.equal(seen.headers["x-token"], "abc");
        assert.equal(seen.headers.host, `127.0.0.1:${server.port}`);
        assert.match(seen.address, /^(::ffff:)?127\.0\.0\.1$/);
        assert.equal(seen.secure, false);
        assert.equal(seen.xdomain, true);
        assert.ok(seen.issued >= began - 1000 && seen.issued <= Date.now() + 1000, `${seen.issued}`);
        assert.match(seen.url, new RegExp(`^/socket\\.io/\\?EIO=4&transport=${transport.transports[0]}`));
        assert.equal(seen.query.transport, transport.transports[0]);
        close(socket);
      });

      test("a second namespace sees the query of the connection and an auth of its own", async () => {
        const main = await connect(server, { ...transport, query: { a: "b", "&ä": "&=?ä" }, auth: { who: "main" } });
        const second = main.io.socket("/abc", { auth: (answer) => answer({ who: "second" }) });
        const handshakes = listen(second, "handshake");
        await connected(second);
        const [seen] = await handshakes.next();
        assert.deepEqual([seen.query.a, seen.query["&ä"], seen.auth], ["b", "&=?ä", { who: "second" }]);
        assert.deepEqual((await emitWithAck(main, "getHandshake")).auth, { who: "main" });
        close(main);
      });

      test("who is refused hears the words of the namespace it asked for, and may try again", async () => {
        const socket = client(server, { ...transport, query: { fail: "1" } });
        assert.equal(await refusal(socket), "Auth failed (main namespace)");
        const foo = socket.io.socket("/foo");
        await connected(foo);
        assert.equal(await emitWithAck(foo, "getId"), foo.id);
        assert.equal(await refusal(socket.io.socket("/no")), "Auth failed (custom namespace)");
        assert.equal(await refusal(socket.io.socket("/nowhere")), "Invalid namespace");
        assert.equal(foo.connected, true);
        close(socket);
      });

      test("dates are ISO texts, false is false, and text is what it was", async () => {
        const socket = await connect(server, transport);
        const [dates, objects, falses, texts] = ["takeDate", "takeDateObj", "false", "takeUtf8"].map((name) => listen(socket, name));
        const date = await emitWithAck(socket, "getAckDate", { test: true });
        assert.equal(new Date(date).toISOString(), date);
        for (const name of ["getDate", "getDateObj", "false", "getUtf8"]) socket.emit(name);
        assert.equal(first(await dates.next()), date);
        assert.deepEqual(first(await objects.next()), { date });
        assert.equal(first(await falses.next()), false);
        assert.deepEqual((await texts.take(5)).map(first), ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]);
        close(socket);
      });

      test("only the right answer to a question counts, and it is one of several arguments", async () => {
        const socket = await connect(server, transport);
        const right = listen(socket, "got it");
        const asked = listen(socket, "ack");
        socket.emit("ack");
        (await asked.next())[0](6, { test: true });
        socket.emit("ack");
        (await asked.next())[0](5, { test: true });
        await right.next();
        await emitWithAck(socket, "echo", 1);
        assert.equal(right.size, 0);
        close(socket);
      });

      test("binary is taken alone, amid other values, and between text in its order", async () => {
        const socket = await connect(server, transport);
        const answers = ["buffack", "back", "jsonbuff-ack", "jsonblob-ack", "abuff2-ack", "blob3-ack"].map((name) => listen(socket, name));
        const bytes = Buffer.from([1, 2, 3]);
        const mixed = { hello: "lol", message: bytes, goodbye: "gotcha" };
        for (const [name, value] of [
          ["buffa", bytes], ["blob", bytes], ["jsonbuff", mixed], ["jsonblob", mixed], ["abuff1", bytes], ["abuff2", "text"],
          ["blob1", bytes], ["blob2", "second"], ["blob3", bytes],
        ]) socket.emit(name, value);
        for (const answer of answers) await answer.next();
        const dog = listen(socket, "doge");
        socket.emit("doge");
        assert.deepEqual(first(await dog.next()), Buffer.from("asdfasdf"));
        close(socket);
      });

      test("packets with retries are sent again until they are acknowledged, in their order", async () => {
        const socket = await connect(server, { ...transport });
        const retrying = client(server, { ...transport });
        retrying._opts.retries = 2;
        retrying._opts.ackTimeout = 20_000;
        const order = [];
        const answered = [1, 2, 3].map((value) => new Promise((resolve) => retrying.emit("echo", value, (error, back) => {
          order.push(back);
          resolve([error, back]);
        })));
        await connected(retrying);
        assert.deepEqual(await within(Promise.all(answered), "not acknowledged"), [[null, 1], [null, 2], [null, 3]]);
        assert.deepEqual(order, [1, 2, 3]);
        close(socket, retrying);
      });
    });
  }
});
