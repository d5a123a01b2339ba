/** First in, first out, without moving what is left on every removal. */
export class InFlight<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** The oldest, or undefined. */
  first(): T | undefined {
    return this.#items[this.#head];
  }

  /** Removes the oldest. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head >= 1_024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The one behind the oldest, or undefined. */
  second(): T | undefined {
    return this.#items[this.#head + 1];
  }

  /** Removes the one behind the oldest. */
  removeSecond(): void {
    const first = this.#items[this.#head];
    if (first === undefined || this.length < 2) return;
    this.#items[this.#head + 1] = first;
    this.#head += 1;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
