/** Batches reduced and merged with the default bounds, and what of the result a test looks at. */
import type { TelemetryBatch } from "../../contract/telemetry.ts";
import type { KeptSpan, Partial } from "../../contract/window.ts";
import { type MergedReductions, mergeReductions } from "../../native/merge-reductions.ts";
import { reduceBatch } from "../../native/reducer.ts";
import { type ReduceOptions, reduceDefaults } from "../../native/reduction.ts";
import { receivedAtMs } from "./otlp-bodies.ts";

export const options: ReduceOptions = { ...reduceDefaults, windowMs: 10_000 };
/** The window of what happened a moment before the receipt. */
export const windowStartMs = receivedAtMs - 10_000;

export function merged(batches: readonly TelemetryBatch[], changed: globalThis.Partial<ReduceOptions> = {}): MergedReductions {
  const all = { ...options, ...changed };
  return mergeReductions(
    batches.map((batch) => reduceBatch(batch, all)),
    all,
  );
}

export function partialsOf(result: MergedReductions): Partial[] {
  return result.windows.flatMap((entry) => entry.partials);
}

export function spansOf(result: MergedReductions): KeptSpan[] {
  return result.windows.flatMap((entry) => entry.spans);
}

export function hexId(length: number, seed: number): string {
  return (seed + 1).toString(16).padStart(length, "0");
}

export function rejectsOf(result: MergedReductions): Record<string, number> {
  return Object.fromEntries(result.rejects);
}
