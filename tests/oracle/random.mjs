// Chance from a seed: the same seed, the same script, on every machine.
//
// The generator is sfc32 (Chris Doty-Humphrey's "small fast counter"), which needs nothing but 32-bit arithmetic.

export class Random {
  #a;
  #b;
  #c;
  #counter = 1;

  constructor(seed) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (let round = 0; round < 15; round += 1) this.#next();
  }

  #next() {
    const result = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result;
    this.#c |= 0;
    return result >>> 0;
  }

  /** A whole number from 0 to `count - 1`. */
  below(count) {
    return Math.floor((this.#next() / 2 ** 32) * count);
  }

  chance(probability) {
    return this.#next() / 2 ** 32 < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** One of the values of `[[weight, value], ...]`. */
  weighted(rows) {
    let rest = (this.#next() / 2 ** 32) * rows.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of rows) {
      rest -= weight;
      if (rest < 0) return value;
    }
    return rows.at(-1)[1];
  }
}
