/** The first answer to each Idempotency-Key, so that a client that did not hear it may ask again without doing it twice. */
import { createHash } from "node:crypto";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { RequestInvalid } from "./problem.ts";

/** Answers kept; beyond it the least recently used is forgotten. */
const idempotencyKeysMax = 1_000;
const keyLengthMax = 200;

interface Kept<T> {
  readonly fingerprint: string;
  readonly answer: Promise<T>;
}

export interface IdempotentCall {
  /** Caller and route: the same key of another caller is another key. */
  readonly scope: string;
  readonly key: string;
  /** What was asked; the same key with another request is refused. */
  readonly request: unknown;
}

export interface IdempotencyKeys<T> {
  /** Runs `work` for a new key; answers the first call's result for a known one, also while that one is still running. */
  once(call: IdempotentCall, work: () => Promise<T>): Promise<{ answer: T; replayed: "yes" | "no" }>;
}

/** `onForgotten` is called for each answer that the bound pushed out. */
export function createIdempotencyKeys<T>(options: { onForgotten: () => void }): IdempotencyKeys<T> {
  const kept = new Map<string, Kept<T>>();

  function remember(id: string, entry: Kept<T>): void {
    kept.delete(id);
    kept.set(id, entry);
    if (kept.size <= idempotencyKeysMax) return;
    const oldest = kept.keys().next();
    if (oldest.done === true) return;
    kept.delete(oldest.value);
    options.onForgotten();
  }

  return {
    async once(call, work) {
      if (call.key.length === 0 || call.key.length > keyLengthMax) {
        throw new RequestInvalid([{ path: "header.Idempotency-Key", message: `must have 1 to ${keyLengthMax} characters` }]);
      }
      const id = `${call.scope}\n${call.key}`;
      const fingerprint = createHash("sha256").update(JSON.stringify(call.request)).digest("hex");
      const known = kept.get(id);
      if (known !== undefined) {
        if (known.fingerprint !== fingerprint) {
          throw new HeadwaterError("REQUEST_INVALID", "This Idempotency-Key was used for another request");
        }
        remember(id, known);
        return { answer: await known.answer, replayed: "yes" };
      }
      const answer = work();
      remember(id, { fingerprint, answer });
      try {
        return { answer: await answer, replayed: "no" };
      } catch (error) {
        // A refusal that may end by itself must not be remembered, or the retry it asks for could never succeed.
        if (toHeadwaterError(error).retriable && kept.get(id)?.answer === answer) kept.delete(id);
        throw error;
      }
    },
  };
}
