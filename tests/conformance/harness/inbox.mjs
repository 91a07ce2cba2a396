// What has arrived and nobody has asked for yet, so that a test can listen late and miss nothing.
//
// Every wait has an end, far beyond what a slow machine needs: a test that hangs would say less than one that fails.

export const PATIENCE_MS = 30_000;

export class Inbox {
  #values = [];
  #waiting = [];
  #end;

  push(value) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(value);
    else this.#values.push(value);
  }

  /** No more will come: who waits, or asks when all has been taken, gets this error. */
  close(error) {
    this.#end ??= error;
    for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#end);
  }

  next() {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    if (this.#end) return Promise.reject(this.#end);
    const value = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    return within(value, "nothing arrived");
  }

  /** The next `count` values, in order. */
  async take(count) {
    const values = [];
    while (values.length < count) values.push(await this.next());
    return values;
  }

  get size() {
    return this.#values.length;
  }
}

/** The promise, or an error with this complaint when patience ends. */
export function within(promise, complaint) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${complaint} within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

const ATTEMPTS_MAX = 10;

/**
 * Tries again where a busy machine may be too slow for a time that the server must keep: until an attempt, which gets its number
 * from 0 on, returns something.
 */
export async function inTime(attempt, complaint) {
  for (let number = 0; number < ATTEMPTS_MAX; number += 1) {
    const outcome = await attempt(number);
    if (outcome !== undefined) return outcome;
  }
  throw new Error(`${complaint} in ${ATTEMPTS_MAX} attempts`);
}

/** Asks again until the answer satisfies: for what other shards learn a moment later. */
export async function eventually(ask, isSatisfied, complaint) {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (isSatisfied(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`${complaint}: still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
