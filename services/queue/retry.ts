/** What both queues do with a handler that failed (design §11): obeyed here and nowhere else. */
import { type HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";

/** Handings-out of one message before it is a dead letter. */
export const attemptsMax = 5;

/** A message that only ever met processes that were stopping is given up after so many of them. */
export const stoppingAttemptsMax = 20;

/** Dead letters kept at most: by the memory queue in all, by Redis for each reader. */
export const deadLettersMax = 1_000;

/** Pause before the next attempt: 100, 200, 400, 800 ms after the first, second, … failure, at most 2 s. */
export function backoffMs(attemptsMade: number): number {
  return Math.min(100 * 2 ** (attemptsMade - 1), 2_000);
}

type AfterFailure = { readonly action: "retry" | "dead-letter"; readonly error: HeadwaterError };

/** Whether a message is handed out again after its `attemptsMade`-th attempt failed. */
export function afterFailure(error: unknown, attemptsMade: number): AfterFailure {
  const known = toHeadwaterError(error);
  // A process that is stopping says nothing about the message: whoever gets it next has attempts left.
  const last = known.code === "STOPPING" ? stoppingAttemptsMax : attemptsMax;
  return { action: known.retriable && attemptsMade < last ? "retry" : "dead-letter", error: known };
}

/**
 * A programmer error must stop the process even when it happened in a handler. The message is a dead letter by then,
 * so the process that is started again does not run into it once more.
 */
export function rethrowInvariant(error: unknown): void {
  if (!(error instanceof InvariantError)) return;
  setImmediate(() => {
    throw error;
  });
}
