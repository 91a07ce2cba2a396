// What the server has taken from the kernel: where a test's next step must come behind something that is not answered.
//
// Both sides are on this machine, so the kernel says it: its table of connections, and what the server's threads do. A time
// would be a race with the machine.

import { readdirSync, readFileSync } from "node:fs";
import { eventually } from "./inbox.mjs";

/** Waits until the server has read all that was written on the connection from this port, and has done with it. */
export async function isRead(server, port) {
  const waiting = () => (sideOf(port, server.port)?.unsent ?? 0) + (sideOf(server.port, port)?.unread ?? 0);
  await eventually(async () => waiting(), (bytes) => bytes === 0, "it is not read");
  await isAtRest(server);
}

/** Waits until the server has ended its side of the connection from this port, and has done with it. */
export async function isLeft(server, port) {
  await eventually(async () => sideOf(server.port, port), (side) => side === undefined, "the connection is there");
  await isAtRest(server);
}

/**
 * Waits until all threads of the server sleep: what the shard that has read something had to tell another has been heard. Two
 * looks that show the same have a moment between them at which nobody had anything to do, because who is woken does not sleep.
 */
async function isAtRest(server) {
  const look = () => readdirSync(`/proc/${server.pid}/task`).map((thread) => stateOf(server.pid, thread));
  const looks = async () => [look().join(), look().join()];
  await eventually(looks, ([first, second]) => first === second && !/[^S,\d ]/.test(first), "the server does not come to rest");
}

/** What a thread does at this moment, `S` if it sleeps, and how often it has ceased to run so far. */
function stateOf(process, thread) {
  let status;
  try {
    status = readFileSync(`/proc/${process}/task/${thread}/status`, "latin1");
  } catch {
    return "gone";
  }
  return `${thread} ${/^State:\s+(\w)/m.exec(status)[1]} ${[...status.matchAll(/ctxt_switches:\s+(\d+)/g)].map(([, count]) => count).join(" ")}`;
}

/** One side of a connection, as long as a program has it: how many bytes its peer has not acknowledged, and how many wait to be read. */
function sideOf(ownPort, peerPort) {
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/net/${table}`, "latin1").split("\n").slice(1)) {
      const [, local, remote, state, queues] = line.trim().split(/\s+/);
      if (local === undefined || portOf(local) !== ownPort || portOf(remote) !== peerPort) continue;
      const [unsent, unread] = queues.split(":").map((bytes) => parseInt(bytes, 16));
      if (OPEN_STATES.includes(state)) return { unsent, unread };
    }
  }
  return undefined;
}

/** Established, and closed by the other side only. */
const OPEN_STATES = ["01", "08"];

const portOf = (address) => parseInt(address.slice(address.indexOf(":") + 1), 16);
