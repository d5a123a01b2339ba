import { bufferedBytesMax } from "./exchange.ts";

const nothing = new Uint8Array(0);

/**
 * The unread bytes of one direction: what was captured, then `hidden` bytes that were not, then what a message announced and `skip` passes
 * over in pieces to come. A reader takes what it needs between `at` and `end`; when it needs more and `hidden` is not zero, no more will
 * come and the framing is lost.
 */
export class StreamBytes {
  data: Uint8Array = nothing;
  at = 0;
  end = 0;
  hidden = 0;
  /** Offset of the next piece, -1 when any is right. */
  expected = -1;
  /** Bytes read or passed over so far, those announced included. */
  consumed = 0;
  #skip = 0;
  #store: Uint8Array = nothing;

  /** Unread captured bytes. */
  get available(): number {
    return this.end - this.at;
  }

  /** Bytes of announced content that are still to come. */
  get toSkip(): number {
    return this.#skip;
  }

  /** Appends a piece: `bytes` in all, of which `data` is the captured prefix. False when too much would have to be kept. */
  push(data: Uint8Array, bytes: number): boolean {
    const captured = Math.min(data.length, bytes);
    let from = 0;
    let unseen = bytes - captured;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, bytes);
      this.#skip -= skipped;
      from = Math.min(skipped, captured);
      unseen = bytes - Math.max(skipped, captured);
    }
    if (this.at === this.end) {
      this.data = data;
      this.at = from;
      this.end = captured;
    } else if (!this.#append(data, from, captured)) {
      return false;
    }
    this.hidden = unseen;
    return true;
  }

  /** Passes over bytes, also those that are hidden or still to come. */
  skip(bytes: number): void {
    this.consumed += bytes;
    const seen = Math.min(bytes, this.end - this.at);
    this.at += seen;
    let left = bytes - seen;
    if (left > 0 && this.hidden > 0) {
      const unseen = Math.min(left, this.hidden);
      this.hidden -= unseen;
      left -= unseen;
    }
    this.#skip = left;
  }

  /** Copies what is unread, because the piece it points into is only valid during its call. False when that is too much. */
  keep(): boolean {
    const unread = this.end - this.at;
    if (unread === 0) {
      this.data = nothing;
      this.at = 0;
      this.end = 0;
      return true;
    }
    if (this.data === this.#store) return unread <= bufferedBytesMax;
    if (unread > bufferedBytesMax) return false;
    if (this.#store.length < unread) this.#store = new Uint8Array(sizeFor(unread));
    this.#store.set(this.data.subarray(this.at, this.end), 0);
    this.data = this.#store;
    this.at = 0;
    this.end = unread;
    return true;
  }

  /** Forgets everything but the expected offset. */
  reset(): void {
    this.data = nothing;
    this.at = 0;
    this.end = 0;
    this.hidden = 0;
    this.#skip = 0;
    this.#store = nothing;
  }

  #append(data: Uint8Array, from: number, to: number): boolean {
    const unread = this.end - this.at;
    const total = unread + to - from;
    if (total > bufferedBytesMax) return false;
    if (this.data === this.#store && this.#store.length >= total) {
      if (this.at > 0) this.#store.copyWithin(0, this.at, this.end);
    } else {
      const old = this.data.subarray(this.at, this.end);
      this.#store = new Uint8Array(sizeFor(total));
      this.#store.set(old, 0);
    }
    this.#store.set(data.subarray(from, to), unread);
    this.data = this.#store;
    this.at = 0;
    this.end = total;
    return true;
  }
}

function sizeFor(bytes: number): number {
  let size = 256;
  while (size < bytes) size *= 2;
  return size;
}
