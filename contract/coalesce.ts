/** Group commit: what is asked for while a flush runs shares the next one. */

interface Waiting<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Hands items to `flush` in the order they came, many at once, one flush at a time. A flush that throws rejects its items only. */
export class Coalescer<T> {
  #flush: (items: readonly T[]) => Promise<void>;
  #itemsPerFlushMax: number;
  #waiting: Waiting<T>[] = [];
  #running: Promise<void> | null = null;

  constructor(flush: (items: readonly T[]) => Promise<void>, options: { itemsPerFlushMax: number }) {
    this.#flush = flush;
    this.#itemsPerFlushMax = options.itemsPerFlushMax;
  }

  /** Resolves when the flush that took the item has resolved. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when everything added so far has been flushed or has failed. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    // One turn of the microtask queue, so that what is asked for in the same turn shares a flush.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#itemsPerFlushMax);
      try {
        await this.#flush(batch.map((waiting) => waiting.item));
        for (const waiting of batch) waiting.resolve();
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
    this.#running = null;
  }
}
