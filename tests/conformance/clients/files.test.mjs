// The client's bundles, as a page loads them: what each file is, caching, and what is no file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { request } from "node:http";
import { close, connect, emitWithAck, TRANSPORTS } from "../harness/client.mjs";
import { within } from "../harness/inbox.mjs";
import { suite } from "../harness/server.mjs";

const FOLDER = new URL("../node_modules/socket.io/client-dist/", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("../package.json", FOLDER)));
const BUNDLES = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

suite("files", "client files", (server) => {
  function fetched(path, { method = "GET", headers = {} } = {}) {
    const answer = new Promise((resolve, reject) => {
      const sent = request(server.url + path, { method, headers }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
      });
      sent.on("error", reject).end();
    });
    return within(answer, `${path} was not answered`);
  }

  for (const name of BUNDLES.flatMap((bundle) => [bundle, `${bundle}.map`])) {
    describe(name, () => {
      const type = name.endsWith(".map") ? /^application\/json/ : /^application\/javascript/;

      test("comes whole, with its type and tag", async () => {
        for (const path of [`/socket.io/${name}`, `/socket.io/${name}?buster=${Math.random()}`]) {
          const { status, headers, body } = await fetched(path);
          assert.equal(status, 200);
          assert.match(headers["content-type"], type);
          assert.equal(headers.etag, `"${version}"`);
          assert.equal(headers["cache-control"], "public, max-age=0");
          assert.ok(body.equals(readFileSync(new URL(name, FOLDER))));
        }
      });

      test("is not sent again to who has it", async () => {
        for (const tag of [`"${version}"`, `W/"${version}"`]) {
          const { status, body } = await fetched(`/socket.io/${name}`, { headers: { "if-none-match": tag } });
          assert.deepEqual([status, body.length], [304, 0], tag);
        }
        const { status, body } = await fetched(`/socket.io/${name}`, { headers: { "if-none-match": '"another"' } });
        assert.equal(status, 200);
        assert.ok(body.length > 0);
      });
    });
  }

  test("what is no bundle is an Engine.IO request, and none without the path", async () => {
    for (const path of ["/socket.io/socket.io.exe", "/socket.io/../package.json", "/socket.io/index.js"]) {
      const { status, body } = await fetched(path);
      assert.ok(status === 400 && JSON.parse(body).code === 0 || status === 404, `${path}: ${status}`);
    }
    assert.equal((await fetched("/socket.io.js")).status, 404);
    assert.equal((await fetched("/other/socket.io.js")).status, 404);
  });

  test("clients connect beside the files", async () => {
    const socket = await connect(server, TRANSPORTS.upgrade);
    assert.equal(await emitWithAck(socket, "ack", 1), 1);
    close(socket);
  });
});

suite("cors", "client files with CORS", (server) => {
  test("another origin may read them", async () => {
    const answer = await fetch(`${server.url}/socket.io/socket.io.js`, { headers: { origin: "http://a.test" } });
    await answer.arrayBuffer();
    assert.equal(answer.headers.get("access-control-allow-origin"), "http://a.test");
  });
});

suite("oracle", "client files that are not served", (server) => {
  test("a bundle is an Engine.IO request without a transport", async () => {
    for (const name of BUNDLES) {
      const answer = await fetch(`${server.url}/socket.io/${name}`);
      assert.deepEqual([answer.status, await answer.json()], [400, { code: 0, message: "Transport unknown" }]);
    }
  });
});
