// Well-behaved clients beside the bad ones, on every shard: whatever those do, these must not notice.

import assert from "node:assert/strict";
import { close, crowd, emitWithAck, listen } from "./client.mjs";
import { eventually } from "./inbox.mjs";

const COUNT = 8;

export class Neighbours {
  #sockets;
  #ids;
  #echoes;
  #round = 0;

  static async move(server) {
    const neighbours = new Neighbours();
    neighbours.#sockets = await crowd(server, COUNT);
    neighbours.#ids = neighbours.#sockets.map(({ id }) => id);
    neighbours.#echoes = neighbours.#sockets.map((socket) => listen(socket, "echo"));
    return neighbours;
  }

  /** The same sockets on the same connections, with nothing lost and nothing heard that was not for them. */
  async assertUndisturbed() {
    this.#round += 1;
    await Promise.all(this.#sockets.map(async (socket, index) => {
      socket.emit("echo", this.#round, index);
      assert.deepEqual(await this.#echoes[index].next(), [this.#round, index]);
      assert.equal(socket.id, this.#ids[index]);
    }));
    assert.ok(this.#echoes.every(({ size }) => size === 0));
  }

  /** What the server's handlers were told about the end of the socket `id`. */
  async reasonOf(id) {
    const rows = await eventually(
      async () => (await emitWithAck(this.#sockets[0], "reasons")).filter(([event, ended]) => event === "disconnect" && ended === id),
      (found) => found.length > 0,
      `the end of ${id}`,
    );
    assert.equal(rows.length, 1);
    return rows[0][2];
  }

  leave() {
    close(...this.#sockets);
  }
}
