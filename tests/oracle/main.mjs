// The oracle: scripts from seeds, played against the official server and against ours, and compared.
//
//   node main.mjs [--seeds A..B | --minutes N] [--targets uring/1,uring/3,epoll/1] [--suites oracle,oracle-old] [--keep-going]
//   node main.mjs --seed S [--trace]           one seed; with --trace everything that came back
//   node main.mjs --script FILE                a script as the oracle printed it
//
// Ends with 1 if a difference was found that `differences.mjs` does not know. What came now and then only is printed, and counted.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { explain } from "./compare.mjs";
import { generate } from "./generate.mjs";
import { Oracle } from "./oracle.mjs";

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    minutes: { type: "string" },
    from: { type: "string" },
    targets: { type: "string", default: "uring/1,uring/3,epoll/1" },
    reference: { type: "string", default: "node" },
    suites: { type: "string" },
    script: { type: "string" },
    trace: { type: "boolean", default: false },
    "keep-going": { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
  },
});

const oracle = new Oracle({ reference: values.reference, targets: values.targets.split(","), isShrinking: !values["no-shrink"] });
const suites = values.suites?.split(",");
let failed = 0;

function* scripts() {
  const made = (seed) => generate(seed, suites && suites[seed % suites.length]);
  if (values.seed !== undefined) return yield made(Number(values.seed));
  if (values.seeds !== undefined) {
    const [first, last] = values.seeds.split("..").map(Number);
    for (let seed = first; seed <= last; seed += 1) yield made(seed);
    return;
  }
  const end = performance.now() + Number(values.minutes ?? 1) * 60_000;
  const first = values.from === undefined ? Math.floor(Date.now() / 1000) * 1000 : Number(values.from);
  console.log(`seeds from ${first} on`);
  for (let seed = first; performance.now() < end; seed += 1) yield made(seed);
}

async function run() {
  const all = values.script === undefined ? scripts() : [JSON.parse(await readFile(values.script, "utf8"))];
  let reported = performance.now();
  let told = 0;
  for (const script of all) {
    if (values.trace) await oracle.trace(script);
    const finding = await oracle.judge(script);
    if (finding) {
      failed += 1;
      const { target, found, script: short } = finding;
      console.log(`\nseed ${script.seed} (${script.suite}): ${target} differs from ${values.reference}; ${short.steps.length} steps of ${script.steps.length}`);
      console.log(explain(found, short, [values.reference, target]));
      console.log(JSON.stringify(short));
      if (!values["keep-going"]) break;
    }
    for (; told < oracle.rare.length; told += 1) {
      const { what, found, script: whole, target } = oracle.rare[told];
      console.log(`\nnow and then: seed ${what}`);
      console.log(explain(found, whole, [values.reference, target]));
    }
    if (performance.now() - reported > 30_000) {
      reported = performance.now();
      console.log(oracle.summary());
    }
  }
}

try {
  await run();
  console.log(oracle.summary());
  for (const { what } of oracle.ofNode) console.log(`several ways on ${values.reference}: seed ${what}`);
} finally {
  await oracle.close();
}
process.exit(failed === 0 ? 0 : 1);
