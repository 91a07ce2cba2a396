// The least of a script that still fails: steps are left out, larger parts first, then single packets of a step.

/** `fails(script)` resolves to something true as long as the difference is there. Bounded by `attempts`. */
export async function shrink(script, fails, attempts = 150) {
  let best = script;
  let left = attempts;
  const isKept = async (steps) => {
    if (left === 0) return false;
    left -= 1;
    const candidate = { ...best, steps };
    if (!(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    // From the end: what comes after the difference goes first.
    for (let at = best.steps.length - size; at > -size; at -= size) {
      const from = Math.max(0, at);
      await isKept([...best.steps.slice(0, from), ...best.steps.slice(from + size)]);
    }
  }
  for (let index = 0; index < best.steps.length; index += 1) {
    for (let packet = (best.steps[index].packets?.length ?? 0) - 1; packet >= 0 && best.steps[index].packets.length > 1; packet -= 1) {
      const step = { ...best.steps[index], packets: best.steps[index].packets.filter((_, at) => at !== packet) };
      await isKept(best.steps.with(index, step));
    }
    for (const field of ["headers", "query", "isKept", "isTwice", "recover"]) {
      if (best.steps[index][field] === undefined || best.steps[index].op === "request") continue;
      const { [field]: _, ...step } = best.steps[index];
      await isKept(best.steps.with(index, step));
    }
  }
  return best;
}
