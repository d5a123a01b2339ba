/** Asks a store again and again, in bounded time: the newest answer stays while it is away, and when it went away is remembered. */
import { type ErrorCode, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";
import type { Clock } from "../../contract/port.ts";

/** How long a reading waits for an answer; after that it is answered with what is known. */
export const answerWithinMs = 2_000;
/** How long a reading waits for an answer that is overdue already. */
const overdueWithinMs = 50;
/** A question without an answer for so long means that the store is away; adapters give up by then. */
const awayAfterMs = 5_000;
/** An answer that took longer is followed by a rest, so that nobody looking at the page keeps a large store busy. */
const slowMs = 250;
const restPerAnswer = 4;
const restMsMax = 10_000;

/** A store that does not answer. */
export interface Away {
  readonly sinceMs: number;
  readonly code: ErrorCode | null;
  /** A sentence, without passwords. */
  readonly message: string;
}

export interface Reading<T> {
  /** The newest answer; null before the first. */
  readonly value: T | null;
  readonly away: Away | null;
  /** How long the running question has been waiting for its answer; null when none runs. */
  readonly waitingMs: number | null;
}

export interface Watch<T> {
  readonly name: string;
  /** Resolves within 2 s, whatever the store does. Rejects for programmer errors only. */
  read(): Promise<Reading<T>>;
  /** What is known without asking. */
  known(): Reading<T>;
}

export interface WatchOptions<T> {
  readonly clock: Clock;
  /** For sentences, e.g. `the graph`. */
  readonly name: string;
  readonly ask: () => Promise<T>;
  /** At least so long between an answer and the next question; 0 unless told. */
  readonly restMs?: number;
  /** Once when it goes away. */
  readonly onAway?: (away: Away) => void;
  /** Once when it is back. */
  readonly onBack?: (outage: { lastedMs: number; failures: number }) => void;
}

export function createWatch<T>(options: WatchOptions<T>): Watch<T> {
  return new StoreWatch(options);
}

class StoreWatch<T> implements Watch<T> {
  readonly #options: WatchOptions<T>;
  #value: T | null = null;
  #outage: (Away & { readonly failures: number }) | null = null;
  #asking: { readonly beganMs: number; readonly done: Promise<void> } | null = null;
  #restUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: WatchOptions<T>) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  async read(): Promise<Reading<T>> {
    const nowMs = this.#options.clock.nowMs();
    if (this.#asking === null && nowMs >= this.#restUntilMs) this.#asking = { beganMs: nowMs, done: this.#ask(nowMs) };
    if (this.#asking !== null) {
      const patienceMs = this.#outage === null ? answerWithinMs - (nowMs - this.#asking.beganMs) : 0;
      await this.#atMost(this.#asking.done, Math.max(overdueWithinMs, patienceMs));
    }
    this.#giveUpWaiting();
    return this.known();
  }

  known(): Reading<T> {
    const waitingMs = this.#asking === null ? null : this.#options.clock.nowMs() - this.#asking.beganMs;
    return { value: this.#value, away: this.#outage, waitingMs };
  }

  async #ask(beganMs: number): Promise<void> {
    const { ask, clock, restMs = 0 } = this.#options;
    try {
      // Through a promise, so that an error thrown at once is an answer like any other.
      const value = await Promise.resolve().then(ask);
      this.#value = value;
      const tookMs = clock.nowMs() - beganMs;
      const neededMs = tookMs > slowMs ? Math.min(restMsMax, tookMs * restPerAnswer) : 0;
      this.#restUntilMs = clock.nowMs() + Math.max(restMs, neededMs);
      this.#back();
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const { code, message } = toHeadwaterError(error);
      this.#away({ sinceMs: beganMs, code, message });
    } finally {
      this.#asking = null;
    }
  }

  #giveUpWaiting(): void {
    if (this.#asking === null || this.#outage !== null) return;
    const { beganMs } = this.#asking;
    if (this.#options.clock.nowMs() - beganMs < awayAfterMs) return;
    this.#away({ sinceMs: beganMs, code: null, message: `${this.#options.name} has not answered for ${awayAfterMs / 1_000} s` });
  }

  #away(away: Away): void {
    const before = this.#outage;
    this.#outage = { ...away, sinceMs: before?.sinceMs ?? away.sinceMs, failures: (before?.failures ?? 0) + 1 };
    if (before === null) this.#options.onAway?.(away);
  }

  #back(): void {
    if (this.#outage === null) return;
    const { sinceMs, failures } = this.#outage;
    this.#outage = null;
    this.#options.onBack?.({ lastedMs: this.#options.clock.nowMs() - sinceMs, failures });
  }

  async #atMost(done: Promise<void>, waitMs: number): Promise<void> {
    let cancel = (): void => undefined;
    const waited = new Promise<void>((resolve) => {
      cancel = this.#options.clock.schedule(waitMs, resolve);
    });
    try {
      await Promise.race([done, waited]);
    } finally {
      cancel();
    }
  }
}
