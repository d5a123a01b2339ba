/** Silence as a signal: series that only a running process sends have stopped while those of others go on. */

import type { SnapshotSeries } from "../contract/evidence.ts";
import type { Split } from "./deviation.ts";
import { referenceOf } from "./deviation.ts";
import { ascending, median, quantileOfSorted } from "./robust-statistics.ts";
import { peerKey } from "./scale-floor.ts";

/** Series with fewer reference samples have no rhythm that could be missed. */
const referenceMin = 5;
/** A gap must be this many times the longest one of normal times. */
const gapFactor = 2.5;
const cadenceFactor = 3;
/** And this share of the fault. */
const faultShare = 0.25;

export interface Silence {
  readonly series: SnapshotSeries;
  readonly sinceMs: number;
}

/** Whether a series comes as long as its process is there: internal, and of the kernel's no count of what may well not happen. */
export function speaksOfLife({ scope, kind, source, statistic }: SnapshotSeries): boolean {
  return scope === "internal" && kind !== "log" && (source === undefined || statistic === "value");
}

/** Internal series that stopped. The newest sample that other entities have of the same quantity says what could be there. */
export function silencesOf(all: readonly SnapshotSeries[], split: Split): Silence[] {
  const internal = all.filter(speaksOfLife);
  const lastAt = new Map<string, number[]>();
  for (const series of internal) {
    const last = lastWithin(series, split.fault.toMs);
    if (last === null) continue;
    const list = lastAt.get(peerKey(series));
    if (list === undefined) lastAt.set(peerKey(series), [last]);
    else list.push(last);
  }
  const overall = median([...lastAt.values()].map((times) => quantileOfSorted(ascending(times), 1)));
  return internal.flatMap((series) => {
    const times = lastAt.get(peerKey(series)) ?? [];
    const end = times.length > 1 ? quantileOfSorted(ascending(times), 0.5) : overall;
    const since = silentSince(series, split, { endMs: Math.min(split.fault.toMs, Math.max(end, overall)) });
    return since === null ? [] : [{ series, sinceMs: since }];
  });
}

function lastWithin(series: SnapshotSeries, toMs: number): number | null {
  for (let index = series.atMs.length - 1; index >= 0; index -= 1) {
    const at = series.atMs[index];
    if (at !== undefined && at <= toMs) return at;
  }
  return null;
}

/** Start of the longest gap that ends at or after the fault's beginning, when it is long enough to mean something. */
function silentSince(series: SnapshotSeries, split: Split, options: { endMs: number }): number | null {
  const reference = referenceOf(series, split).atMs;
  if (reference.length < referenceMin) return null;
  const gaps = reference.slice(1).map((at, index) => at - (reference[index] ?? at));
  const cadence = median(gaps);
  const longest = quantileOfSorted(ascending(gaps), 1);
  const faultMs = split.fault.toMs - split.fault.fromMs;
  const enough = Math.max(cadenceFactor * cadence, gapFactor * longest, faultShare * faultMs);
  const later = series.atMs.filter((at) => at >= split.searchFromMs && at <= split.fault.toMs);
  const lastReference = reference[reference.length - 1] ?? split.searchFromMs;
  const marks = [lastReference, ...later.filter((at) => at > lastReference), Math.max(options.endMs, lastReference)];
  let best = { since: 0, gap: 0 };
  for (let index = 1; index < marks.length; index += 1) {
    const since = marks[index - 1] ?? 0;
    const end = marks[index] ?? 0;
    if (end >= split.fault.fromMs && end - since > best.gap) best = { since, gap: end - since };
  }
  return best.gap >= enough && best.gap > 0 ? best.since : null;
}
