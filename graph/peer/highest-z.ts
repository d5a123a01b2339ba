/** Yardstick: the entity whose most abnormal series lies most standard deviations from its mean (NSigma). */
import type { EvidenceSnapshot, SnapshotSeries } from "../../contract/evidence.ts";
import type { ScoredCandidate } from "../case/score.ts";
import { entitiesScored } from "./peer.ts";

const referenceMin = 3;
/** A constant series would be infinitely abnormal at its first flicker. */
const deviationMin = 0.001;
const relativeDeviationMin = 0.01;

/** Entities by their largest |z| over all series of their own. */
export function highestZ(snapshot: EvidenceSnapshot): ScoredCandidate[] {
  const entities = new Set(snapshot.entities.map((entity) => entity.id));
  const scores = new Map<string, number>();
  for (const series of snapshot.series) {
    if (!entities.has(series.entity)) continue;
    scores.set(series.entity, Math.max(scores.get(series.entity) ?? 0, largestZ(series, snapshot)));
  }
  return entitiesScored(snapshot, scores);
}

function largestZ(series: SnapshotSeries, snapshot: EvidenceSnapshot): number {
  const within = (fromMs: number, toMs: number): number[] =>
    series.values.filter((value, index) => {
      const at = series.atMs[index] ?? Number.NaN;
      return at >= fromMs && at < toMs && Number.isFinite(value);
    });
  const before = within(snapshot.normal.fromMs, snapshot.normal.toMs);
  if (before.length < referenceMin) return 0;
  const mean = before.reduce((sum, value) => sum + value, 0) / before.length;
  const variance = before.reduce((sum, value) => sum + (value - mean) * (value - mean), 0) / before.length;
  const deviation = Math.max(Math.sqrt(variance), deviationMin, relativeDeviationMin * Math.abs(mean));
  const during = within(snapshot.fault.fromMs, snapshot.fault.toMs + 1);
  return Math.max(0, ...during.map((value) => Math.abs(value - mean) / deviation));
}
