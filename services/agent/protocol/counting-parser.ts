import type { ParserCounts } from "./exchange.ts";
import { StreamBytes } from "./stream-bytes.ts";

/** What parsers of byte streams have in common: both sides' bytes, what could not be told, and the end of it. */
export abstract class CountingParser implements ParserCounts {
  protected readonly requests = new StreamBytes();
  protected readonly responses = new StreamBytes();
  protected readonly counts = { dropped: 0, orphans: 0, unparseable: 0, cut: 0 };
  #opaque: string | null = null;

  get opaque(): string | null {
    return this.#opaque;
  }
  get dropped(): number {
    return this.counts.dropped;
  }
  get orphans(): number {
    return this.counts.orphans;
  }
  get unparseable(): number {
    return this.counts.unparseable;
  }
  get cut(): number {
    return this.counts.cut;
  }
  get bufferedBytes(): number {
    return this.requests.available + this.responses.available;
  }

  abstract get inFlight(): number;
  abstract close(): void;

  /** The rest of the connection cannot be read; whoever feeds may stop. */
  protected giveUp(reason: string): void {
    this.close();
    this.#opaque = reason;
  }

  /** Requests that the server said it would not answer, or whose answer cannot be told apart any more. */
  protected drop(count: number): void {
    this.counts.dropped += count;
  }
}
