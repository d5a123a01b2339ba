/** What both queues do with a handler that failed (design §11): obeyed here and nowhere else. */
import { type HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";

/** Handings-out of one message before it is a dead letter. */
export const attemptsMax = 5;

/** Pause before the next attempt: 100, 200, 400, 800 ms after the first, second, … failure. */
export function backoffMs(attemptsMade: number): number {
  return 100 * 2 ** (attemptsMade - 1);
}

type AfterFailure = { readonly action: "retry" | "dead-letter"; readonly error: HeadwaterError };

/** Whether a message is handed out again after its `attemptsMade`-th attempt failed. */
export function afterFailure(error: unknown, attemptsMade: number): AfterFailure {
  const known = toHeadwaterError(error);
  return { action: known.retriable && attemptsMade < attemptsMax ? "retry" : "dead-letter", error: known };
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
