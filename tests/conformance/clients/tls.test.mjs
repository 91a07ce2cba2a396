// TLS: the official client over https and wss, certificates of both sides, their renewal, and what is no TLS.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { Duplex } from "node:stream";
import { describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { makeCertificates } from "../harness/certificates.mjs";
import { close, client, connect, connected, crowd, emitWithAck, listen, TRANSPORTS } from "../harness/client.mjs";
import { within } from "../harness/inbox.mjs";
import { isNode, suite } from "../harness/server.mjs";

const certificates = makeCertificates();
const { ca } = certificates;
const HTTPS = { scheme: "https" };

/** A message of almost the size that the server takes, different everywhere. */
const large = Buffer.from(Uint32Array.from({ length: 245_000 }, (_, index) => index * 2_654_435_761).buffer);

/** The whole of what a TCP connection answers to these bytes, which FIN follows. */
async function answered(server, bytes) {
  const socket = connectTcp({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  const parts = [];
  socket.on("data", (part) => parts.push(part));
  const gone = new Promise((resolve) => socket.once("close", resolve));
  socket.end(bytes);
  await within(gone, "the connection was not closed");
  return Buffer.concat(parts);
}

/** A TLS connection after its handshake; `over` carries it. */
async function secured(server, options = {}, over = undefined) {
  const socket = connectTls({ port: server.port, host: "127.0.0.1", ca, socket: over, ...options });
  await within(once(socket, "secureConnect"), "no handshake");
  return socket;
}

/** The text that the server sends until it ends. */
async function readAll(socket) {
  let text = "";
  socket.on("data", (part) => (text += part.toString("latin1")));
  await within(once(socket, "end"), "no end");
  return text;
}

const REQUEST = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

suite(["clients", "--tls", certificates.folder], "TLS", (server) => {
  for (const [way, options] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("text, binary and acknowledgements", async () => {
        const socket = await connect(server, { ...options, ca });
        assert.deepEqual(await emitWithAck(socket, "ack", "ä", { nested: [1, Buffer.from([1, 2, 3])] }), "ä");
        const inbox = listen(socket, "echo");
        socket.emit("echo", Buffer.from([0, 255]), "text");
        const [bytes, text] = await inbox.next();
        assert.deepEqual([Buffer.from(bytes), text], [Buffer.from([0, 255]), "text"]);
        close(socket);
      });

      test("almost a megabyte both ways", async () => {
        const socket = await connect(server, { ...options, ca });
        const inbox = listen(socket, "bin");
        // In base64, a POST takes three quarters of what a frame does.
        const bytes = way === "WebSocket only" ? large : large.subarray(0, 700_000);
        for (let round = 0; round < 3; round += 1) {
          socket.emit("bin", bytes);
          assert.ok(Buffer.from((await inbox.next())[0]).equals(bytes));
        }
        close(socket);
      });

      test("the handshake says that it is secure", async () => {
        const socket = await connect(server, { ...options, ca });
        assert.equal(await emitWithAck(socket, "secure"), true);
        close(socket);
      });
    });
  }

  test("a client that does not know the authority does not connect", async () => {
    for (const transports of [["polling"], ["websocket"]]) {
      const socket = client(server, { transports });
      await assert.rejects(connected(socket));
      close(socket);
    }
  });

  test("many clients hear a broadcast, on whichever shard, in order", async () => {
    const sockets = await crowd(server, 24, { ca });
    const inboxes = sockets.map((socket) => listen(socket, "news"));
    for (let index = 0; index < 50; index += 1) sockets[0].emit("all", "news", index, "x".repeat(index * 20));
    for (const inbox of inboxes) {
      for (let index = 0; index < 50; index += 1) {
        assert.deepEqual(await inbox.next(), [index, "x".repeat(index * 20)]);
      }
    }
    close(...sockets);
  });

  test("a slow reader gets everything, in order", async () => {
    const socket = await connect(server, { ...TRANSPORTS["WebSocket only"], ca });
    const inbox = listen(socket, "bin");
    const carrier = socket.io.engine.transport.ws._socket;
    carrier.pause();
    for (let index = 0; index < 14; index += 1) socket.emit("bin", Buffer.concat([Buffer.from([index]), large.subarray(0, 200_000)]));
    const other = await connect(server, { ca });
    assert.equal(await emitWithAck(other, "ack", "meanwhile"), "meanwhile");
    carrier.resume();
    for (let index = 0; index < 14; index += 1) {
      const bytes = Buffer.from((await inbox.next())[0]);
      assert.deepEqual([bytes[0], bytes.length], [index, 200_001]);
      assert.ok(bytes.subarray(1).equals(large.subarray(0, 200_000)));
    }
    close(socket, other);
  });

  test("a connection that is cut off without good-bye is a transport close", async () => {
    const watcher = await connect(server, { ca });
    const socket = await connect(server, { ...TRANSPORTS["WebSocket only"], ca });
    const { id } = socket;
    const gone = once(socket, "disconnect");
    socket.io.engine.transport.ws._socket._handle ? socket.io.engine.transport.ws._socket.destroy() : undefined;
    await within(gone, "still connected");
    for (;;) {
      const mine = (await emitWithAck(watcher, "reasons")).filter(([, other]) => other === id);
      if (mine.length < 2) continue;
      assert.deepEqual(mine.map(([what, , reason]) => [what, reason]), [["disconnecting", "transport close"], ["disconnect", "transport close"]]);
      break;
    }
    close(watcher);
  });

  test("a renewed certificate is shown to the next, and nobody is disconnected", async () => {
    const before = await connect(server, { ...TRANSPORTS["WebSocket only"], ca });
    const shown = async () => {
      const socket = await secured(server);
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      return CN;
    };
    assert.equal(await shown(), "first");
    try {
      certificates.show("second");
      await emitWithAck(before, "renew");
      assert.equal(await shown(), "second");
      assert.equal(await emitWithAck(before, "ack", "still here"), "still here");
    } finally {
      certificates.show("first");
      await emitWithAck(before, "renew");
    }
    close(before);
  });

  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    describe(version, () => {
      const options = { minVersion: version, maxVersion: version };

      test("a request is answered, and good-bye said", async () => {
        const socket = await secured(server, options);
        assert.equal(socket.getProtocol(), version);
        socket.write(REQUEST);
        assert.match(await readAll(socket), /^HTTP\/1\.1 200 [^]*\r\n\r\n0\{"sid"/);
      });

      test("byte by byte, in records and below them", async () => {
        const carrier = new Dribble(server);
        const socket = await secured(server, options, carrier);
        for (const character of REQUEST) socket.write(character);
        assert.match(await readAll(socket), /^HTTP\/1\.1 200 [^]*\r\n\r\n0\{"sid"/);
      });

      test("a session is resumed, on any shard", async () => {
        const first = connectTls({ port: server.port, host: "127.0.0.1", ca, ...options });
        const session = await within(new Promise((resolve) => first.once("session", resolve)), "no ticket");
        first.destroy();
        for (let round = 0; round < 6; round += 1) {
          const socket = await secured(server, { ...options, session });
          assert.ok(socket.isSessionReused());
          socket.destroy();
        }
      });
    });
  }

  test("nothing is renegotiated, and nobody notices", async () => {
    const neighbour = await connect(server, { ca });
    const socket = await secured(server, { maxVersion: "TLSv1.2" });
    socket.on("error", () => {});
    const outcome = new Promise((resolve) => {
      socket.renegotiate({}, (error) => resolve(error ? "refused" : "renegotiated"));
      socket.once("close", () => resolve("refused"));
    });
    if (!isNode) assert.equal(await within(outcome, "no answer"), "refused");
    socket.destroy();
    assert.equal(await emitWithAck(neighbour, "ack", 1), 1);
    close(neighbour);
  });

  test("only HTTP/1.1 is spoken", async () => {
    const socket = await secured(server, { ALPNProtocols: ["h2", "http/1.1"] });
    assert.equal(socket.alpnProtocol, "http/1.1");
    socket.destroy();
    const refused = connectTls({ port: server.port, host: "127.0.0.1", ca, ALPNProtocols: ["h2"] });
    await assert.rejects(within(once(refused, "secureConnect"), "no answer"));
  });

  describe("what is no TLS", () => {
    test("plain HTTP is told", async () => {
      const answer = (await answered(server, REQUEST)).toString();
      // Node closes the connection without a word.
      if (!isNode) assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n[^]*https:\/\//);
    });

    const HELLO = Buffer.from("16030100050100", "hex");
    const cases = {
      "nothing at all": Buffer.alloc(0),
      "bytes without sense": Buffer.from(Array.from({ length: 300 }, (_, index) => (index * 37 + 1) % 256)),
      "a record of another version": Buffer.from("16090900050100000100", "hex"),
      "half a record": HELLO,
      "a record that is too long": Buffer.concat([Buffer.from("160301ffff", "hex"), Buffer.alloc(70_000)]),
      "a message that is too long": Buffer.concat([Buffer.from("160301400001ffffff", "hex"), Buffer.alloc(16_380)]),
      "application data without a handshake": Buffer.from("1703030005aabbccddee", "hex"),
      "an alert": Buffer.from("15030300020228", "hex"),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      test(name, async () => {
        const neighbour = await connect(server, { ca });
        const answer = await answered(server, bytes);
        assert.ok(answer.length === 0 || answer[0] === 0x15, `an alert or nothing: ${answer.toString("hex")}`);
        assert.equal(await emitWithAck(neighbour, "ack", 1), 1);
        close(neighbour);
      });
    }

    test("a record that is changed on its way ends the connection and nobody else's", async () => {
      const neighbour = await connect(server, { ca });
      const carrier = new Dribble(server, { whole: true });
      const socket = await secured(server, {}, carrier);
      socket.on("error", () => {});
      let heard = "";
      socket.on("data", (bytes) => (heard += bytes));
      carrier.spoil = true;
      socket.write(REQUEST);
      await within(once(carrier, "close"), "the connection was not closed");
      assert.equal(heard, "", "the request has not arrived");
      assert.equal(await emitWithAck(neighbour, "ack", 1), 1);
      close(neighbour);
    });
  });
}, HTTPS);

suite(["clients", "--tls", certificates.folder, "--client-certificates", "demanded"], "TLS with client certificates", (server) => {
  for (const transports of [["polling"], ["websocket"]]) {
    describe(transports[0], () => {
      for (const [name, own] of Object.entries({ "key and cert": certificates.client, pfx: certificates.pfx })) {
        test(`send and receive data with ${name}`, async () => {
          const socket = await connect(server, { transports, ca, ...own });
          assert.equal(await emitWithAck(socket, "ack", "hello"), "hello");
          close(socket);
        });
      }

      test("without a certificate, or with a stranger's, there is no connection", async () => {
        for (const own of [{}, certificates.intruder]) {
          const socket = client(server, { transports, ca, ...own });
          await assert.rejects(connected(socket));
          close(socket);
        }
        const socket = await connect(server, { transports, ca, ...certificates.client });
        close(socket);
      });
    });
  }
}, HTTPS);

suite(["clients", "--tls", certificates.folder, "--client-certificates", "welcome"], "TLS, client certificates welcome", (server) => {
  for (const transports of [["polling"], ["websocket"]]) {
    test(`send and receive data with ca when not requiring auth, over ${transports[0]}`, async () => {
      for (const own of [{}, certificates.client]) {
        const socket = await connect(server, { transports, ca, ...own });
        assert.equal(await emitWithAck(socket, "ack", "hello"), "hello");
        close(socket);
      }
    });
  }
}, HTTPS);

/** Carries bytes to the server one by one, or spoils them. */
class Dribble extends Duplex {
  spoil = false;
  #socket;
  #whole;

  constructor(server, { whole = false } = {}) {
    super();
    this.#whole = whole;
    this.#socket = connectTcp(server.port, "127.0.0.1");
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (bytes) => this.push(bytes));
    this.#socket.on("end", () => this.push(null));
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.destroy());
  }

  _read() {}

  async _write(bytes, _encoding, done) {
    if (this.spoil) bytes[bytes.length - 1] ^= 1;
    for (let index = 0; index < bytes.length; index += this.#whole ? bytes.length : 1) {
      const part = this.#whole ? bytes : bytes.subarray(index, index + 1);
      await new Promise((resolve) => this.#socket.write(part, resolve));
    }
    done();
  }

  _final(done) {
    this.#socket.end(done);
  }

  _destroy(error, done) {
    this.#socket.destroy();
    done(error);
  }
}
