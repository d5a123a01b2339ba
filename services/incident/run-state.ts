/** Whether a run of the incident stage still goes on, and how long it tries what fails. */
import { setTimeout as pause } from "node:timers/promises";
import { HeadwaterError } from "../../contract/error.ts";
import type { Outages } from "../../contract/outage.ts";

/** Pause between tries while a store is away; on the machine's own timers, because a replay's clock stands still meanwhile. */
export const retryPauseMs = 100;

/** What is repeated while something is away. */
type Step = "tick" | "change" | "alert" | "verdict" | "person" | "commit";
const steps: readonly Step[] = ["tick", "change", "alert", "verdict", "person", "commit"];

interface RunStateOptions {
  readonly outages: Outages;
  /** Told once when the run cannot go on; it is to be stopped then. */
  readonly lost: (error: HeadwaterError) => void;
}

export class RunState {
  readonly #options: RunStateOptions;
  #over: "no" | "stopping" | "abandoned" = "no";
  #failure: HeadwaterError | null = null;

  constructor(options: RunStateOptions) {
    this.#options = options;
  }

  /** No tick is begun, and nothing more is taken from a queue. */
  get isOver(): boolean {
    return this.#over !== "no";
  }

  /** Something was left half done: what is in memory must not be committed; the next run reads it again. */
  get isAbandoned(): boolean {
    return this.#over === "abandoned";
  }

  /** Why it was abandoned, when that was an operational failure and not its stop. */
  get failure(): HeadwaterError | null {
    return this.#failure;
  }

  /** It is being stopped: what is under way is ended, as long as nothing is away. */
  stop(): void {
    if (this.#over === "no") this.#over = "stopping";
  }

  /** Nothing more is done or committed. Whether a run is begun anew is decided by who owns the partitions. Programmer errors end the process. */
  abandon(error: unknown): void {
    if (this.#over === "abandoned") return;
    const wasStopping = this.#over === "stopping";
    this.#over = "abandoned";
    if (!isOperational(error)) {
      queueMicrotask(() => {
        throw error;
      });
      return;
    }
    if (wasStopping) return;
    this.#failure = error;
    this.#options.lost(error);
  }

  /** Runs what must not be left half done: when it fails the run cannot go on. */
  async orAbandon(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.abandon(error);
      throw error;
    }
  }

  /** Waits while something is away. Throws STOPPING when the run is over meanwhile, and what cannot be repeated. */
  async untilDone<T>(step: Step, work: () => Promise<T>): Promise<T> {
    const { outages } = this.#options;
    for (;;) {
      if (this.#over === "abandoned") throw stopping();
      try {
        const result = await work();
        outages.passed(step);
        return result;
      } catch (error) {
        if (!isOperational(error) || !error.retriable || error.code === "STOPPING") throw error;
        if (this.#over !== "no") throw stopping(error);
        outages.failed(step, error);
        await pause(retryPauseMs);
      }
    }
  }

  refuseWhenOver(): void {
    if (this.#over !== "no") throw stopping();
  }

  /** Nothing is waited for any more. */
  forgetOutages(): void {
    for (const step of steps) this.#options.outages.passed(step);
  }
}

function stopping(cause?: HeadwaterError): HeadwaterError {
  return new HeadwaterError("STOPPING", "the incident stage gives up its work, here or for good", cause === undefined ? {} : { cause });
}

/** Everything else is a programmer error, which ends the process. */
export function isOperational(error: unknown): error is HeadwaterError {
  return error instanceof HeadwaterError && error.code !== "INTERNAL";
}

/** For a promise's `catch`: lets operational errors pass. */
export function ignoreOperational(error: unknown): void {
  if (!isOperational(error)) throw error;
}
