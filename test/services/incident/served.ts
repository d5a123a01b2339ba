/** Windows of requests for the tests of the incident stage. */
import type { RequestWindow } from "../../../contract/anomaly.ts";

/** Bucket of a duration, by the definition in contract/window.ts. */
export function bucketOf(durationNs: number): number {
  const octave = Math.floor(Math.log2(durationNs));
  return 16 * octave + Math.floor(16 * (durationNs / 2 ** octave - 1));
}

/** `count` requests of `ms` each, `slow` of them thrice as long, `failed` of them failed. */
export function served(
  entity: string,
  windowStartMs: number,
  what: { count: number; failed?: number; ms?: number; slow?: number },
): RequestWindow {
  const { count, failed = 0, ms = 20, slow = 0 } = what;
  const buckets = new Map<number, number>();
  if (count > slow) buckets.set(bucketOf(ms * 1e6), count - slow);
  if (slow > 0) buckets.set(bucketOf(ms * 3e6), slow);
  return { entity, windowStartMs, count, failed, buckets: [...buckets].sort(([left], [right]) => left - right) };
}
