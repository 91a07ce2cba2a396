// What the server has taken from the kernel: where a test's next step must come behind something that is not answered.
//
// Both sides are on this machine, so the kernel's table of connections says it. A time would be a race with the machine.

import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "./inbox.mjs";

/** From the shard that has read a request to the one that has its session. */
const PASS_ON_MS = 50;

/** Waits until the server has read all that was written on the connection from this port. */
export async function isRead(server, port) {
  await eventually(async () => serverSide(server, port)?.unread ?? 0, (unread) => unread === 0, "it is not read");
  await delay(PASS_ON_MS);
}

/** Waits until the server has ended its side of the connection from this port. */
export async function isLeft(server, port) {
  await eventually(async () => serverSide(server, port), (side) => side === undefined, "the connection is there");
  await delay(PASS_ON_MS);
}

/** The server's side of a connection, as long as a program has it: how many bytes wait there. */
function serverSide(server, clientPort) {
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/net/${table}`, "latin1").split("\n").slice(1)) {
      const [, local, remote, state, queues] = line.trim().split(/\s+/);
      if (local === undefined || portOf(local) !== server.port || portOf(remote) !== clientPort) continue;
      if (OPEN_STATES.includes(state)) return { unread: parseInt(queues.split(":")[1], 16) };
    }
  }
  return undefined;
}

/** Established, and closed by the other side only. */
const OPEN_STATES = ["01", "08"];

const portOf = (address) => parseInt(address.slice(address.indexOf(":") + 1), 16);
