/** Numbers the batches of each source without gaps, in the order in which they are published (design §4, Time). */
import { contentHash } from "../../contract/canonical.ts";

interface Source {
  readonly id: string;
  sequence: number;
  /** Ends when the newest publish of this source has ended; never rejects. */
  tail: Promise<void>;
  waiting: number;
}

export class SourceNumbers {
  #gatewayId: string;
  #sourcesMax: number;
  #onForgotten: () => void;
  /** Least recently used first. */
  #sources = new Map<string, Source>();
  #forgotten = 0;

  /** `onForgotten` is called for each source that was forgotten at `sourcesMax`. */
  constructor(options: { gatewayId: string; sourcesMax: number; onForgotten: () => void }) {
    this.#gatewayId = options.gatewayId;
    this.#sourcesMax = options.sourcesMax;
    this.#onForgotten = options.onForgotten;
  }

  /**
   * Calls `publish` with the source's id and next number, after all earlier ones of the source have ended.
   * The number is used up only when `publish` resolves.
   */
  async inOrder(identity: readonly (string | null)[], publish: (source: string, sequence: number) => Promise<void>): Promise<void> {
    const source = this.#touch(JSON.stringify(identity), identity);
    const before = source.tail;
    const done = before.then(async () => {
      await publish(source.id, source.sequence);
      source.sequence += 1;
    });
    source.waiting += 1;
    source.tail = done
      .catch(() => undefined)
      .then(() => {
        source.waiting -= 1;
      });
    await done;
  }

  #touch(key: string, identity: readonly (string | null)[]): Source {
    const found = this.#sources.get(key);
    if (found !== undefined) {
      this.#sources.delete(key);
      this.#sources.set(key, found);
      return found;
    }
    if (this.#sources.size >= this.#sourcesMax) this.#forgetOne();
    // A source that comes back after it was forgotten begins at 0 again, so it must be another source to the readers' watermarks:
    // how many were forgotten before it began is part of its id. While none was, ids depend on gateway and resource only.
    const source = { id: sourceId([this.#gatewayId, this.#forgotten, ...identity]), sequence: 0, tail: Promise.resolve(), waiting: 0 };
    this.#sources.set(key, source);
    return source;
  }

  /** Forgets the least recently used source that has nothing under way. */
  #forgetOne(): void {
    for (const [key, source] of this.#sources) {
      if (source.waiting > 0) continue;
      this.#sources.delete(key);
      this.#forgotten += 1;
      this.#onForgotten();
      return;
    }
  }
}

function sourceId(parts: readonly (string | number | null)[]): string {
  return contentHash(parts).slice(0, 16);
}
