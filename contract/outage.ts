/** What steps of a stage wait for: told to the log once when it begins and once when it is over, and to whoever asks while it lasts. */
import type { HeadwaterError } from "./error.ts";
import type { Clock } from "./port.ts";

/** An outage is over when no step has failed for so long; a connection that comes and goes is one outage. */
const calmMs = 2_000;
/** Different texts of errors that do not pass by themselves, told in one outage at most. */
const textsMax = 10;
/** What has waited for so long is worth a sentence, though it has not failed. */
const slowMs = 5_000;

interface OutagesOptions {
  /** Begins every sentence, e.g. the name of the stage. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  /** Called for each failed step, to count it. */
  readonly onFailed?: (error: HeadwaterError) => void;
}

interface Outage {
  readonly code: string;
  readonly sinceMs: number;
  message: string;
  failures: number;
  /** Steps that have failed and not succeeded since. */
  readonly steps: Set<string>;
  /** When the last of them succeeded; null while some are left. */
  calmSinceMs: number | null;
  readonly texts: Set<string>;
}

/** Outages by error code. Steps are named by the caller, from a closed set: what is repeated until it succeeds, e.g. `read window 3`. */
export class Outages {
  readonly #options: OutagesOptions;
  readonly #outages = new Map<string, Outage>();
  readonly #waiting = new Set<{ readonly sentence: string; readonly sinceMs: number }>();

  constructor(options: OutagesOptions) {
    this.#options = options;
  }

  /** The step failed and will be repeated. */
  failed(step: string, error: HeadwaterError): void {
    this.#options.onFailed?.(error);
    this.#leave(step, error.code);
    const outage = this.#outages.get(error.code) ?? this.#begin(error);
    outage.failures += 1;
    outage.message = error.message;
    outage.steps.add(step);
    outage.calmSinceMs = null;
    // What does not pass by itself needs a person, so each different text is worth a line; connections have many texts for one outage, and
    // partitions that were lost have one each.
    if (!error.retriable && error.code !== "FENCED" && !outage.texts.has(error.message) && outage.texts.size < textsMax) this.#tell(outage);
  }

  /** The step succeeded, or is not to be done any more. Cheap while nothing is away. */
  passed(step: string): void {
    if (this.#outages.size > 0) this.#leave(step, null);
  }

  /**
   * Does what waits without failing while somebody else is behind, e.g. an append to a log that is full. `sentence` says what it waits for
   * then; it is among the reasons once that has taken 5 s, and in the log when it is over.
   */
  async waiting<T>(sentence: string, work: () => Promise<T>): Promise<T> {
    const { name, clock, logger } = this.#options;
    const waiting = { sentence, sinceMs: clock.nowMs() };
    this.#waiting.add(waiting);
    try {
      return await work();
    } finally {
      this.#waiting.delete(waiting);
      const waitedMs = clock.nowMs() - waiting.sinceMs;
      const isLast = [...this.#waiting].every((other) => other.sentence !== sentence);
      if (waitedMs >= slowMs && isLast) logger.info({ reason: sentence, seconds: secondsOf(waitedMs) }, `${name} goes on after waiting`);
    }
  }

  /** A sentence for each thing that is waited for now. */
  reasons(): readonly string[] {
    this.#endCalm();
    const { name, clock } = this.#options;
    const sinceMs = new Map<string, number>();
    for (const outage of this.#outages.values()) if (outage.steps.size > 0) sinceMs.set(outage.message, outage.sinceMs);
    for (const { sentence, sinceMs: waitedSinceMs } of this.#waiting) {
      if (clock.nowMs() - waitedSinceMs < slowMs) continue;
      sinceMs.set(sentence, Math.min(sinceMs.get(sentence) ?? waitedSinceMs, waitedSinceMs));
    }
    return [...sinceMs].map(([sentence, since]) => `${name} has waited for ${secondsOf(clock.nowMs() - since)} s: ${sentence}`);
  }

  #begin(error: HeadwaterError): Outage {
    const sinceMs = this.#options.clock.nowMs();
    const outage: Outage = {
      ...{ code: error.code, sinceMs, message: error.message, failures: 0 },
      ...{ steps: new Set<string>(), calmSinceMs: null, texts: new Set<string>() },
    };
    this.#outages.set(error.code, outage);
    this.#tell(outage);
    return outage;
  }

  #tell(outage: Outage): void {
    const { code, message } = outage;
    outage.texts.add(message);
    this.#options.logger.warn({ code, reason: message }, `${this.#options.name} waits and tries again`);
  }

  #leave(step: string, except: string | null): void {
    for (const outage of this.#outages.values()) {
      if (outage.code === except || !outage.steps.delete(step) || outage.steps.size > 0) continue;
      outage.calmSinceMs = this.#options.clock.nowMs();
    }
    this.#endCalm();
  }

  #endCalm(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const { code, sinceMs, calmSinceMs, failures } of this.#outages.values()) {
      if (calmSinceMs === null || nowMs - calmSinceMs < calmMs) continue;
      this.#outages.delete(code);
      const fields = { code, seconds: secondsOf(calmSinceMs - sinceMs), repeated: failures };
      this.#options.logger.info(fields, `${this.#options.name} goes on: what it waited for is back`);
    }
  }
}

function secondsOf(durationMs: number): number {
  return Math.round(durationMs / 100) / 10;
}
