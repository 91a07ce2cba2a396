// Judges scripts: is there a difference, does it come again, and how little of the script is enough for it?

import { compare } from "./compare.mjs";
import { Theatre, targetOf } from "./servers.mjs";
import { shrink } from "./shrink.mjs";

/** A difference is one if it comes again as often. */
const REPETITIONS = 2;

/** What a difference is, whichever client and step it shows at. */
function signature(found) {
  if (!found) return undefined;
  const rows = (value) => (Array.isArray(value) ? value : [value]).map((row) => JSON.stringify(row));
  const [reference, subject] = [rows(found.reference), rows(found.subject)];
  const alone = [reference.find((row) => !subject.includes(row)), subject.find((row) => !reference.includes(row))];
  return JSON.stringify([found.where.replace(/(client|socket|session|unseen) \d+|\((socket|session|unseen).*\)/g, ""), ...alone].map((text) => text?.replace(/\d+/g, "0").replace(/\[.*\]/, "[]")));
}

export class Oracle {
  #reference;
  #targets;
  #isShrinking;
  #counts = { scripts: 0, steps: 0, unstable: [] };
  #known = new Map();
  #began = performance.now();

  constructor({ reference = "node", targets, isShrinking = true }) {
    this.#reference = new Theatre(targetOf(reference));
    this.#targets = targets.map((name) => new Theatre(targetOf(name)));
    this.#isShrinking = isShrinking;
  }

  /** `undefined`, or `{ target, found, script }` with a script that was cut short. */
  async judge(script) {
    this.#counts.scripts += 1;
    this.#counts.steps += script.steps.length;
    const expected = await this.#reference.play(script);
    for (const theatre of this.#targets) {
      const { found, known } = await this.#compare(expected, theatre, script);
      for (const name of known) this.#known.set(name, (this.#known.get(name) ?? 0) + 1);
      if (!found) continue;
      const again = await this.#differs(theatre, script);
      if (!again) {
        this.#counts.unstable.push(`${script.seed} on ${theatre.name} (${found.where}, step ${found.step})`);
        continue;
      }
      // A shorter script must show the same difference, not another one.
      const isSame = async (shorter) => signature(await this.#differs(theatre, shorter)) === signature(again);
      const short = this.#isShrinking ? await shrink(script, isSame) : script;
      return { target: theatre.name, found: (await this.#differs(theatre, short)) ?? again, script: short };
    }
    return undefined;
  }

  /** What differs, if it does so each time. */
  async #differs(theatre, script) {
    let found;
    for (let time = 0; time < REPETITIONS; time += 1) {
      ({ found } = await this.#compare(await this.#reference.play(script), theatre, script));
      if (!found) return undefined;
    }
    return found;
  }

  async #compare(expected, theatre, script) {
    try {
      return compare(expected, await theatre.play(script), script);
    } catch (error) {
      return { found: { where: "whether the server survives", reference: "it does", subject: error.message }, known: [] };
    }
  }

  /** Prints what both sides said. */
  async trace(script) {
    for (const theatre of [this.#reference, ...this.#targets]) {
      const { steps, log } = await theatre.play(script);
      console.log(`\n== ${theatre.name}`);
      script.steps.forEach((step, index) => {
        console.log(`${String(index).padStart(3)} ${JSON.stringify(step)}`);
        for (const [channel, entries] of Object.entries(steps[index])) for (const entry of entries) console.log(`      ${channel}: ${JSON.stringify(entry)}`);
      });
      for (const [socket, heard] of Object.entries(log)) console.log(`    ${socket}: ${JSON.stringify(heard)}`);
    }
  }

  /** Differences that did not come again. */
  get unstable() {
    return this.#counts.unstable;
  }

  summary() {
    const minutes = ((performance.now() - this.#began) / 60_000).toFixed(1);
    const { scripts, steps, unstable } = this.#counts;
    const known = [...this.#known].map(([name, count]) => `${name} ${count}`).join(", ");
    const shaky = unstable.length === 0 ? "" : `; did not come again: ${unstable.length} (last: seed ${unstable.at(-1)})`;
    return `oracle: ${scripts} scripts of ${steps} steps on ${this.#targets.length} targets in ${minutes} min; known differences met: ${known || "none"}${shaky}`;
  }

  async close() {
    for (const theatre of [this.#reference, ...this.#targets]) await theatre.close();
  }
}
