// Judges scripts: is there a difference, does it come again, and how little of the script is enough for it?

import { compare } from "./compare.mjs";
import { Theatre, targetOf } from "./servers.mjs";
import { shrink } from "./shrink.mjs";

/** A difference is one if it comes again as often. */
const REPETITIONS = 2;
/** How often both sides play before something that comes now and then is said to be ours alone. */
const ROUNDS_MAX = 8;
/** How much longer they wait then for what does not come: 16 s, before the first deadline of ours (20 s) ends a connection that Node leaves waiting. */
const PATIENCE = 8;

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
  #patience;
  #counts = { scripts: 0, steps: 0, ofNode: [], rare: [] };
  #known = new Map();
  #began = performance.now();

  /** With `patience` also what is played for the first time waits longer, see `play` of the player. */
  constructor({ reference = "node", targets, isShrinking = true, patience = 1 }) {
    this.#reference = new Theatre(targetOf(reference));
    this.#targets = targets.map((name) => new Theatre(targetOf(name)));
    this.#isShrinking = isShrinking;
    this.#patience = patience;
  }

  /** `undefined`, or `{ target, found, script }` with a script that was cut short. */
  async judge(script) {
    this.#counts.scripts += 1;
    this.#counts.steps += script.steps.length;
    const expected = await this.#reference.play(script, this.#patience);
    for (const theatre of this.#targets) {
      const { found, known, record } = await this.#compare(expected, theatre, script, this.#patience);
      for (const name of known) this.#known.set(name, (this.#known.get(name) ?? 0) + 1);
      if (!found) continue;
      const { verdict, again } = await this.#weigh(theatre, script, expected, record, found);
      if (verdict !== "differs") {
        const what = `${script.seed} (${script.suite}) on ${theatre.name}: ${found.where}, step ${found.step}`;
        this.#counts[verdict].push({ what, found, script, target: theatre.name });
        continue;
      }
      // A shorter script must show the same difference, not another one.
      const isSame = async (shorter) => signature(await this.#differs(theatre, shorter)) === signature(again);
      const short = this.#isShrinking ? await shrink(script, isSame) : script;
      return { target: theatre.name, found: (await this.#differs(theatre, short)) ?? again, script: short };
    }
    return undefined;
  }

  /**
   * Plays both sides again, alone. `differs`: no record of ours is like any of Node's. `ofNode`: each is like one of Node's,
   * which has several. `rare`: some are, one is like none that Node has shown in all rounds.
   */
  async #weigh(theatre, script, expected, record, found) {
    // A record that misses something may have been made in too much haste.
    const isSound = (one) => one !== undefined && !one.steps.some((channels) => Object.values(channels).flat().some(({ kind }) => kind === "missing"));
    const references = isSound(expected) ? [expected] : [];
    const subjects = record === undefined || isSound(record) ? [{ record, found, isLikeOne: false }] : [];
    let again;
    for (let round = 1; round <= ROUNDS_MAX; round += 1) {
      references.push(await this.#reference.play(script, PATIENCE));
      const next = await this.#compare(references.at(-1), theatre, script, PATIENCE);
      again = next.found ?? again;
      subjects.push({ ...next, isLikeOne: false });
      for (const subject of subjects) subject.isLikeOne ||= subject.record !== undefined && references.some((one) => !compare(one, subject.record, script).found);
      const like = subjects.filter(({ isLikeOne }) => isLikeOne).length;
      if (like === 0 && round >= REPETITIONS) return { verdict: "differs", again };
      if (like === subjects.length && round >= REPETITIONS) return { verdict: "ofNode" };
    }
    return { verdict: "rare" };
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

  async #compare(expected, theatre, script, patience = 1) {
    try {
      const record = await theatre.play(script, patience);
      return { ...compare(expected, record, script), record };
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

  /** What Node shows now so, now so, and ours as well. */
  get ofNode() {
    return this.#counts.ofNode;
  }

  /** What ours showed once in many times, and Node never. */
  get rare() {
    return this.#counts.rare;
  }

  summary() {
    const minutes = ((performance.now() - this.#began) / 60_000).toFixed(1);
    const { scripts, steps, ofNode, rare } = this.#counts;
    const known = [...this.#known].map(([name, count]) => `${name} ${count}`).join(", ");
    const shaky = `; played again: ${ofNode.length} that Node itself shows in several ways, ${rare.length} that came now and then`;
    return `oracle: ${scripts} scripts of ${steps} steps on ${this.#targets.length} targets in ${minutes} min; known differences met: ${known || "none"}${shaky}`;
  }

  async close() {
    for (const theatre of [this.#reference, ...this.#targets]) await theatre.close();
  }
}
