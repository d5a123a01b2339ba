/** The last values of a series, both in order of time and sorted; a value costs one binary search and two short moves of memory. */

const sizeFirst = 32;

export class SortedRing {
  readonly #sizeMax: number;
  #ring: Float32Array = new Float32Array(sizeFirst);
  #sorted: Float32Array = new Float32Array(sizeFirst);
  #oldest = 0;
  #size = 0;
  #fractions = 0;

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  get size(): number {
    return this.#size;
  }

  /** How many of the values are not whole numbers. */
  get fractions(): number {
    return this.#fractions;
  }

  /** Adds a float32 value; the oldest goes when there are more than `sizeMax`. */
  push(value: number): void {
    if (this.#size === this.#sizeMax) this.#dropOldest();
    else if (this.#size === this.#ring.length) this.#grow();
    this.#ring[(this.#oldest + this.#size) % this.#ring.length] = value;
    const at = countBelow(this.sorted(), value);
    this.#sorted.copyWithin(at + 1, at, this.#size);
    this.#sorted[at] = value;
    this.#size += 1;
    if (!Number.isInteger(value)) this.#fractions += 1;
  }

  /** A view, valid until the next push. */
  sorted(): Float32Array {
    return this.#sorted.subarray(0, this.#size);
  }

  /** A copy, oldest first. */
  values(): Float32Array {
    const values = new Float32Array(this.#size);
    for (let index = 0; index < this.#size; index += 1) values[index] = this.#ring[(this.#oldest + index) % this.#ring.length] ?? 0;
    return values;
  }

  #dropOldest(): void {
    const value = this.#ring[this.#oldest] ?? 0;
    this.#oldest = (this.#oldest + 1) % this.#ring.length;
    const at = countBelow(this.sorted(), value);
    this.#sorted.copyWithin(at, at + 1, this.#size);
    this.#size -= 1;
    if (!Number.isInteger(value)) this.#fractions -= 1;
  }

  #grow(): void {
    const length = Math.min(this.#ring.length * 2, this.#sizeMax);
    const ring = new Float32Array(length);
    ring.set(this.values());
    const sorted = new Float32Array(length);
    sorted.set(this.sorted());
    this.#ring = ring;
    this.#sorted = sorted;
    this.#oldest = 0;
  }
}

/** How many of the sorted values are smaller. */
export function countBelow(sorted: Float32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Median of at least one sorted value. */
export function median(sorted: Float32Array): number {
  const half = sorted.length >>> 1;
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? 0) + upper) / 2;
}

/** Median of the distances from `middle`: walks outward from it, so it needs no second sorting. */
export function medianDeviation(sorted: Float32Array, middle: number): number {
  let right = countBelow(sorted, middle);
  let left = right - 1;
  const wanted = sorted.length >>> 1;
  let distance = 0;
  for (let taken = 0; taken <= wanted; taken += 1) {
    const below = left >= 0 ? middle - (sorted[left] ?? 0) : Number.POSITIVE_INFINITY;
    const above = right < sorted.length ? (sorted[right] ?? 0) - middle : Number.POSITIVE_INFINITY;
    distance = Math.min(below, above);
    if (below <= above) left -= 1;
    else right += 1;
  }
  return distance;
}
