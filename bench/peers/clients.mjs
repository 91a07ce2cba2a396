// Load as people make it who have no tool: the official client, many times in one process, on a schedule that waits for no answer.
//
//   node clients.mjs echo|broadcast URL --clients N --rate PER-SECOND --duration S --warmup S --json FILE
//
// For `make loadtest-figures`, so it understands the options of `ringio-loadtest run` that stand there, says `phase NAME:` when it begins
// to measure, and writes what that script reads. Messages of a millisecond are due together, as there; latency counts from when a message was due.
// Nothing is checked but the number of deliveries.

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { io } from "socket.io-client";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: "string" },
    rate: { type: "string" },
    duration: { type: "string" },
    warmup: { type: "string" },
    json: { type: "string" },
    "connect-rate": { type: "string" },
    plain: { type: "boolean" },
  },
});
const [name, url] = positionals;
const count = Number(values.clients);
const filler = "x".repeat(40);
const now = () => performance.now();

const sockets = [];
for (let index = 0; index < count; index++) {
  const socket = io(url, { transports: ["websocket"], forceNew: true, reconnection: false });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  sockets.push(socket);
}

let latencies = null;
for (const socket of sockets) socket.on(name, (due) => latencies?.push(now() - due));

let sent = 0;
const start = now();
const senders = name === "broadcast" ? sockets.slice(0, 1) : sockets;
const timer = setInterval(() => {
  for (let due = ((now() - start) / 1000) * Number(values.rate); sent < due; sent++) {
    senders[sent % senders.length].emit(name, start + (sent / Number(values.rate)) * 1000, filler);
  }
}, 1);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
await sleep(Number(values.warmup));
latencies = [];
console.error(`phase ${name}:`);
const from = now();
await sleep(Number(values.duration));
const seconds = (now() - from) / 1000;
const sorted = Float64Array.from(latencies).sort();
clearInterval(timer);
const at = (share) => sorted[Math.floor((sorted.length - 1) * share)];
const total = { rate_received: sorted.length / seconds, clients: count, connected: 0, seconds, latency: { p50: at(0.5), p99: at(0.99) }, lag: {} };
writeFileSync(values.json, JSON.stringify({ total, faults: {}, failures: {}, notes: [] }));
process.exit(0);
