/**
 * Stops the process on a programmer error.
 * Use it for what can only be wrong when our own code is; bad data is a value and operational failures are `HeadwaterError`.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Thrown by `invariant`; nobody catches it, so the process ends and its supervisor starts it again. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}
