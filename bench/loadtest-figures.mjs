// What the load generator itself costs beside the servers that it drives: `make loadtest-figures`.
//
//   node bench/loadtest-figures.mjs [--name loadtest] [--rounds 3] [--seconds 3] [--rows echo,broadcast] [--servers node]
//     [--tool PROGRAM]... [--official] [--out bench/runs]
//
// Every run has a fresh server on core 0 and the tool on core 1 (where there are two). A round visits every row with every server, in
// turning order. CPU is that of all threads of both processes (schedstat, nanoseconds) over the same stretch of the measured phase;
// "client" is the whole program, conductor and report included. `--tool` may be given twice, to compare two builds of it; `--official`
// makes the same load with the official JavaScript client as well (peers/clients.mjs), in the rows that it knows.
// Writes table.md, reports.jsonl and machine.json to bench/runs/DATE-NAME/.

import { spawn, execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const bench = dirname(fileURLToPath(import.meta.url));
const root = dirname(bench);
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "loadtest" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    rows: { type: "string" },
    servers: { type: "string" },
    tool: { type: "string", multiple: true, default: [join(target, "release/ringio-loadtest")] },
    official: { type: "boolean", default: false },
    out: { type: "string", default: join(bench, "runs") },
  },
});
const rounds = Number(values.rounds);
const official = join(bench, "peers/clients.mjs");
if (values.official) values.tool.push(official);

// Of this run: the last report, and the certificate of TLS rows.
const scratchFolder = join(tmpdir(), `loadtest-figures-${process.pid}`);

const SERVERS = {
  ringio: (port) => [join(target, "release/conformance"), "bench", "--shards", "1", "--driver", "uring", "--port", port],
  node: (port) => ["node", join(bench, "peers/server.mjs"), "ws", "--port", port],
  socketioxide: (port) => [join(target, "peers/release/peer-socketioxide"), "--port", port],
};

// `rates`: messages per second for each server, where they are to bring it to its end: well over nine tenths of Node's core; servers that
// cost less than this program take as many as it can send without being late. `server`: what the server is started with besides.
// Idle clients say nothing but that they are there, once in 25 s: their row takes longer than that, and is measured in one round.
const ROWS = {
  echo: { args: ["echo", "--clients", "500", "--rate", "10000"], official: true },
  "echo-each-on-its-own": { args: ["echo", "--clients", "500", "--rate", "10000", "--tick", "0"] },
  "echo-1000-per-second": { args: ["echo", "--clients", "500", "--rate", "1000"] },
  "echo-saturated": { args: ["echo", "--clients", "500"], rates: { ringio: 90_000, node: 40_000, socketioxide: 80_000 } },
  ack: { args: ["ack", "--clients", "500", "--rate", "10000"] },
  "binary-1-kib": { args: ["binary", "--clients", "100", "--rate", "5000", "--size", "1024"] },
  rooms: { args: ["rooms", "--clients", "2000", "--room-size", "10", "--rate", "1000"] },
  broadcast: { args: ["broadcast", "--clients", "1000", "--rate", "50"], official: true },
  "broadcast-saturated": { args: ["broadcast", "--clients", "1000"], rates: { ringio: 300, node: 170, socketioxide: 250 } },
  polling: { args: ["echo", "--clients", "500", "--rate", "1000", "--transport", "polling"] },
  msgpack: { args: ["echo", "--clients", "500", "--rate", "10000", "--parser", "msgpack"], server: ["--parser", "msgpack"] },
  deflate: { args: ["echo", "--clients", "500", "--rate", "10000", "--deflate"], server: ["--deflate"], without: ["socketioxide"] },
  tls: { args: ["echo", "--clients", "500", "--rate", "10000", "--insecure"], server: ["--tls", scratchFolder], without: ["socketioxide"] },
  churn: { args: ["churn", "--clients", "500", "--rate", "1000"], unit: "connection" },
  idle: { args: ["idle", "--clients", "5000"], unit: "heartbeat", seconds: 28, rounds: 1 },
};

const chosen = (all, names) => (names ? names.split(",").map((name) => [name, all[name] ?? fail(`no such: ${name}`)]) : Object.entries(all));
const servers = chosen(SERVERS, values.servers);
const rows = chosen(ROWS, values.rows);
const folder = join(values.out, `${new Date().toISOString().slice(0, 10)}-${values.name}`);
const scratch = join(scratchFolder, "report.json");
const hasTwoCores = cpus().length > 1;
const pinned = (core, command) => (hasTwoCores ? ["taskset", "-c", String(core), ...command] : command);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function fail(text) {
  console.error(`loadtest-figures: ${text}`);
  process.exit(2);
}

/** CPU time of all threads of a process. Nanoseconds. */
function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    try {
      return sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      return sum; // It has ended meanwhile.
    }
  }, 0);
}

const unitOf = (row) => row.unit ?? "delivery";

const memory = (pid) => Number(/^Rss: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]);

/** From below the ports that the kernel gives to connections. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(10_000 + Math.floor(Math.random() * 10_000), () => {
      const { port } = server.address();
      server.close(() => resolve(String(port)));
    });
  });
}

/** Resolves with the first line of `stream` that matches. */
function line(child, stream, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.on("data", (data) => {
      text += data;
      if (pattern.test(text)) resolve();
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${child.spawnargs.join(" ")} ended with ${code}: ${text}`)));
  });
}

async function measure(row, server, tool) {
  const port = await freePort();
  const [program, ...args] = pinned(0, [...server[1](port), ...(row[1].server ?? [])]);
  const serving = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await line(serving, serving.stdout, /ready/);
    const name = row[1].args[0];
    const seconds = row[1].seconds ?? Number(values.seconds);
    const options = ["--duration", String(seconds), "--warmup", "1", "--connect-rate", "5000", "--plain", "--json", scratch];
    const rate = row[1].rates ? ["--rate", String(row[1].rates[server[0]])] : [];
    const scheme = row[1].server?.includes("--tls") ? "https" : "http";
    const generator = tool === official ? ["node", official] : [tool, "run"];
    const command = pinned(1, [...generator, name, `${scheme}://127.0.0.1:${port}`, ...row[1].args.slice(1), ...rate, ...options]);
    const client = spawn(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise((resolve) => client.on("exit", resolve));
    await line(client, client.stderr, new RegExp(`phase ${name}:`));
    // taskset becomes what it starts, so both are the processes themselves.
    await sleep(0.2);
    const before = { at: process.hrtime.bigint(), server: cpu(serving.pid), client: cpu(client.pid) };
    await sleep(seconds - 0.4);
    const after = { at: process.hrtime.bigint(), server: cpu(serving.pid), client: cpu(client.pid) };
    const rss = { server: memory(serving.pid), client: memory(client.pid) };
    const code = await ended;
    const { total, faults, failures, notes } = JSON.parse(readFileSync(scratch, "utf8"));
    rmSync(scratch);
    if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${JSON.stringify({ faults, failures, notes })}`);
    // What was answered after the stretch would be divided into it.
    if (total.latency.p50 > 500 && !row[1].rates) throw new Error(`the median latency was ${digits(total.latency.p50)} ms: something else has this machine`);
    const passed = Number(after.at - before.at) / 1e9;
    // The first of all connections are made before the stretch.
    const perSecond = { delivery: total.rate_received, connection: (total.connected - total.clients) / total.seconds, heartbeat: total.clients / passed };
    const units = perSecond[unitOf(row[1])];
    const us = (who) => (after[who] - before[who]) / 1e3 / passed / units;
    return {
      row: row[0], server: server[0], tool: values.tool.length > 1 ? tool : undefined,
      server_us: us("server"), client_us: us("client"), ratio: us("client") / us("server"),
      server_percent: (us("server") * units) / 1e4, client_percent: (us("client") * units) / 1e4,
      server_kb: rss.server, client_kb: rss.client, rate: units, clients: total.clients,
      p50_ms: total.latency.p50, p99_ms: total.latency.p99, lag_p99_ms: total.lag.p99, notes, load: loadavg()[0],
    };
  } finally {
    serving.kill();
  }
}

const sorted = (runs, key) => runs.map((run) => run[key]).sort((a, b) => a - b);
const median = (numbers) => (numbers[(numbers.length - 1) >> 1] + numbers[numbers.length >> 1]) / 2;
const digits = (number) => (number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2));
function cell(runs, key) {
  const numbers = sorted(runs, key);
  const spread = numbers.length > 1 ? ` [${digits(numbers[0])}..${digits(numbers.at(-1))}]` : "";
  return `${digits(median(numbers))}${spread}`;
}

function table(runs) {
  const lines = [
    "CPU in microseconds per unit, of all threads of each process; median of the rounds [min..max]; the ratio is taken within a run.",
    "",
    "| load | unit | server | units/s | server us | tool us | tool / server | server CPU % | tool CPU % | p50 ms | p99 ms |",
    "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
  ];
  for (const [name, row] of rows) {
    for (const [server] of servers) {
      for (const tool of values.tool) {
        const mine = runs.filter((run) => run.row === name && run.server === server && (run.tool ?? tool) === tool);
        if (mine.length === 0) continue;
        const cells = ["rate", "server_us", "client_us", "ratio", "server_percent", "client_percent", "p50_ms", "p99_ms"].map((key) => cell(mine, key));
        const which = values.tool.length > 1 ? ` (${relative(root, tool)})` : "";
        lines.push(`| ${name} | ${unitOf(row)} | ${server}${which} | ${cells.join(" | ")} |`);
      }
    }
  }
  return lines.join("\n") + "\n";
}

const output = (program, args) => {
  try {
    return execFileSync(program, args, { cwd: root, encoding: "utf8" }).trim();
  } catch {
    return null;
  }
};

mkdirSync(values.out, { recursive: true });
mkdirSync(scratchFolder);
if (rows.some(([, row]) => row.server?.includes(scratchFolder))) {
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const files = ["-keyout", join(scratchFolder, "key.pem"), "-out", join(scratchFolder, "chain.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...key, ...names, ...files], { stdio: "ignore" });
}
try {
  mkdirSync(folder);
} catch {
  fail(`${relative(root, folder)} is there already; choose another --name`);
}
const shown = (command) => command.map((word) => (word.startsWith(root) ? relative(root, word) : word)).join(" ");
writeFileSync(join(folder, "machine.json"), JSON.stringify({
  date: new Date().toISOString(), kernel: release(), cpu: cpus()[0].model.trim(), cores: cpus().length, load: loadavg(),
  commit: output("git", ["rev-parse", "--short", "HEAD"]), changed: output("git", ["status", "--porcelain", "--untracked-files=no"]),
  node: process.version, rounds, seconds: Number(values.seconds), servers: Object.fromEntries(servers.map(([name, command]) => [name, shown(command("PORT"))])),
  rows: Object.fromEntries(rows.map(([name, row]) => [name, [...row.args, ...(row.rates ? [JSON.stringify(row.rates)] : [])].join(" ")])),
}, null, 2) + "\n");
const runs = [];
for (let round = 0; round < rounds; round++) {
  for (const row of rows.filter(([, { rounds = Infinity }]) => round < rounds)) {
    const cases = servers.filter(([name]) => !row[1].without?.includes(name)).flatMap((server) =>
      values.tool.filter((tool) => tool !== official || row[1].official).map((tool) => [server, tool]));
    for (let index = 0; index < cases.length; index++) {
      const [server, tool] = cases[(index + round) % cases.length];
      try {
        const run = { round, ...(await measure(row, server, tool)) };
        runs.push(run);
        appendFileSync(join(folder, "reports.jsonl"), JSON.stringify({ ...run, tool: run.tool && relative(root, run.tool) }) + "\n");
        console.log(`${round} ${run.row} ${run.server} ${run.tool ? relative(root, run.tool) : ""}: server ${digits(run.server_us)} us, tool ${digits(run.client_us)} us, ratio ${digits(run.ratio)}, p50 ${digits(run.p50_ms)} ms, p99 ${digits(run.p99_ms)} ms`);
      } catch (error) {
        console.error(`${row[0]} with ${server[0]}: ${error.message}`);
        process.exitCode = 1;
      }
    }
  }
}
rmSync(scratchFolder, { recursive: true });
writeFileSync(join(folder, "table.md"), table(runs));
console.log(`\n${table(runs)}\n${relative(root, folder)}`);
