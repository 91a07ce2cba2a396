// Where two records of one script part, and which known differences were met on the way.

import { DIFFERENCES, FORKS, isRecoveredAgain } from "./differences.mjs";

/**
 * `{ found, known }`: `found` is `undefined` or `{ where, step, reference, subject }` for the first difference that no entry
 * of `DIFFERENCES` explains; `known` are the names of those that were met.
 */
export function compare(reference, subject, script) {
  const known = new Set();
  /** Both sides without the known differences named, those in `without` excepted. */
  const reconciled = (where, index, sides, without) => {
    let [left, right] = sides;
    for (const { name, reconcile } of DIFFERENCES) {
      if (name !== without) [left, right] = reconcile(left, right, { where, step: script.steps[index], script, known, reference }) ?? [left, right];
    }
    return [left, right];
  };
  const areEqual = ([left, right]) => JSON.stringify(left) === JSON.stringify(right);
  const excuse = (where, index, ...sides) => {
    const rest = reconciled(where, index, sides);
    if (!areEqual(rest)) return rest;
    for (const { name } of DIFFERENCES) if (!areEqual(reconciled(where, index, sides, name))) known.add(name);
    return undefined;
  };

  for (let index = 0; index < script.steps.length; index += 1) {
    const [a, b] = [reference.steps[index], subject.steps[index]];
    for (const channel of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
      const [left, right] = [a[channel] ?? [], b[channel] ?? []];
      if (JSON.stringify(left) === JSON.stringify(right)) continue;
      const rest = excuse(channel, index, left, right);
      if (!rest) continue;
      const fork = FORKS.find(({ isMet }) => isMet(left, right, { where: channel, step: script.steps[index], script, index, log: subject.log }));
      if (fork) return { found: undefined, known: known.add(fork.name) };
      return { found: { where: channel, step: index, reference: rest[0], subject: rest[1] }, known };
    }
  }
  if (isRecoveredAgain(reference.log, subject.log, script)) return { found: undefined, known: known.add("recovered-once") };
  const isSame = (left, right) => JSON.stringify(left) === JSON.stringify(right) || !excuse("log", -1, left, right);
  const heard = paired(reference.log, subject.log, isSame);
  for (const socket of [...new Set([...Object.keys(reference.log), ...Object.keys(heard)])].sort()) {
    const [left, right] = [reference.log[socket] ?? [], heard[socket] ?? []];
    if (JSON.stringify(left) === JSON.stringify(right)) continue;
    const rest = excuse("log", -1, left, right);
    if (rest) return { found: { where: `what the handlers of ${socket} heard`, step: undefined, reference: rest[0], subject: rest[1] }, known };
  }
  if (reference.isLeaking !== subject.isLeaking) {
    return { found: { where: "sockets that stay when all clients have left", reference: reference.isLeaking, subject: subject.isLeaking }, known };
  }
  return { found: undefined, known };
}

/**
 * The log `theirs` with its unseen sockets under the names that those of `ours` have which are the same; the rest in their order. Nothing but
 * what they heard tells them apart, and a known difference in that may put them into another order.
 */
export function paired(ours, theirs, isSame) {
  const unseen = (log) => Object.keys(log).filter((name) => name.startsWith("(unseen "));
  const log = Object.fromEntries(Object.entries(theirs).filter(([name]) => !name.startsWith("(unseen ")));
  const left = unseen(theirs);
  const rest = unseen(ours).filter((name) => {
    const at = left.findIndex((other) => isSame(ours[name], theirs[other]));
    if (at === -1) return true;
    log[name] = theirs[left.splice(at, 1)[0]];
    return false;
  });
  left.forEach((name, index) => (log[rest[index] ?? `(unseen ${unseen(ours).length + index})`] = theirs[name]));
  return log;
}

/** The difference for people: the script up to it, and both sides with the lines that differ marked. */
export function explain({ where, step, reference, subject }, script, names = ["node", "ours"]) {
  const lines = [];
  script.steps.forEach((one, index) => {
    if (step === undefined || index <= step) lines.push(`${index === step ? ">" : " "} ${String(index).padStart(3)} ${JSON.stringify(one)}`);
  });
  lines.push("", `${where}${step === undefined ? "" : `, after step ${step}`}:`);
  lines.push(...sideBySide(rows(reference), rows(subject), names));
  return lines.join("\n");
}

function rows(value) {
  return Array.isArray(value) ? value.map((row) => JSON.stringify(row)) : [JSON.stringify(value)];
}

/** Rows of both in order, with `-` for what only the first has and `+` for what only the second has. */
function sideBySide(a, b, [first, second]) {
  // Longest common subsequence; the lists are short.
  const table = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const width = Math.max(first.length, second.length);
  const out = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) out.push(`    ${"".padEnd(width)}   ${a[i]}`), (i += 1), (j += 1);
    else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) out.push(`  - ${first.padEnd(width)}   ${a[i++]}`);
    else out.push(`  + ${second.padEnd(width)}   ${b[j++]}`);
  }
  return out;
}
