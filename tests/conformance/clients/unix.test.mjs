// A server on a Unix socket, as behind a proxy on the same machine: Node's client by `socketPath`.

import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { close, connect, crowd, emitWithAck, listen, settle, TRANSPORTS } from "../harness/client.mjs";
import { isNode, suite } from "../harness/server.mjs";

const path = join(tmpdir(), `ringio-${process.pid}.sock`);
after(() => {
  // The reference ends without closing its listener.
  if (!isNode) assert.ok(!existsSync(path), "the file went with the server");
  rmSync(path, { force: true });
});

suite(["clients", "--unix", path], "Unix socket", (server) => {
  const over = () => ({ agent: new Agent({ socketPath: path }) });

  for (const [way, options] of Object.entries(TRANSPORTS)) {
    describe(way, () => {
      test("text, binary and acknowledgements", async () => {
        const socket = await connect(server, { ...options, ...over() });
        assert.equal(await emitWithAck(socket, "ack", "hello"), "hello");
        const inbox = listen(socket, "bin");
        socket.emit("bin", Buffer.alloc(300_000, 7));
        assert.ok(Buffer.from((await inbox.next())[0]).equals(Buffer.alloc(300_000, 7)));
        close(socket);
      });
    });
  }

  test("clients on every shard hear a broadcast", async () => {
    const sockets = await crowd(server, 12, over());
    const inboxes = sockets.map((socket) => listen(socket, "news"));
    sockets[0].emit("all", "news", 1);
    for (const inbox of inboxes) assert.deepEqual(await inbox.next(), [1]);
    await settle(sockets);
    close(...sockets);
  });
});
