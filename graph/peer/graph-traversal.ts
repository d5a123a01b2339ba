/**
 * Yardstick: PetShop's authors' traversal. Nodes whose alerted quantity lies more than five MADs from its median are
 * anomalous; those without an anomalous callee are roots, scored by the largest sum of distances on the way to a symptom.
 */
import type { EvidenceSnapshot, SnapshotSeries } from "../../contract/evidence.ts";
import type { ScoredCandidate } from "../case/score.ts";
import { entitiesScored } from "./peer.ts";

const anomalousMads = 5;
const madMin = 1e-9;

/** Roots among the anomalous nodes; all others share the last place with 0, as the traversal returns nothing for them. */
export function graphTraversal(snapshot: EvidenceSnapshot): ScoredCandidate[] {
  const kinds = alertedKinds(snapshot);
  const distances = new Map<string, number>();
  for (const series of snapshot.series) {
    if (!kinds.has(series.kind)) continue;
    distances.set(series.entity, Math.max(distances.get(series.entity) ?? 0, madDistance(series, snapshot)));
  }
  const anomalous = new Set([...distances].filter(([, distance]) => distance > anomalousMads).map(([entity]) => entity));
  const callees = new Map<string, string[]>();
  for (const { source, target } of snapshot.dependencies) callees.set(source, [...(callees.get(source) ?? []), target]);
  const paths = new Map<string, number>();
  for (const symptom of snapshot.symptoms) {
    if (anomalous.has(symptom.entity)) walk(symptom.entity, { sum: 0, trail: new Set(), distances, anomalous, callees, paths });
  }
  const scores = new Map<string, number>();
  for (const [entity, sum] of paths) if (!(callees.get(entity) ?? []).some((callee) => anomalous.has(callee))) scores.set(entity, sum);
  return entitiesScored(snapshot, scores);
}

function alertedKinds(snapshot: EvidenceSnapshot): ReadonlySet<string> {
  const alerted = new Set(snapshot.symptoms.map((symptom) => (/avail|error|fail/i.test(symptom.metric) ? "errors" : "latency")));
  return alerted.size > 0 ? alerted : new Set(["latency", "errors"]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function madDistance(series: SnapshotSeries, snapshot: EvidenceSnapshot): number {
  const before: number[] = [];
  const during: number[] = [];
  for (const [index, at] of series.atMs.entries()) {
    const value = series.values[index] ?? 0;
    if (at >= snapshot.normal.fromMs && at < snapshot.normal.toMs) before.push(value);
    else if (at >= snapshot.fault.fromMs && at <= snapshot.fault.toMs) during.push(value);
  }
  if (before.length === 0 || during.length === 0) return 0;
  const middle = median(before);
  const mad = Math.max(median(before.map((value) => Math.abs(value - middle))), madMin);
  return Math.abs(median(during) - middle) / mad;
}

/** Steps over all paths together, so that a dense graph cannot hold the benchmark up. */
const visitsMax = 100_000;

interface Walk {
  readonly sum: number;
  readonly trail: ReadonlySet<string>;
  readonly distances: ReadonlyMap<string, number>;
  readonly anomalous: ReadonlySet<string>;
  readonly callees: ReadonlyMap<string, readonly string[]>;
  readonly paths: Map<string, number>;
}

function walk(entity: string, state: Walk): void {
  const stack = [{ entity, sum: state.sum, trail: state.trail }];
  let visits = 0;
  for (let step = stack.pop(); step !== undefined && visits < visitsMax; step = stack.pop()) {
    visits += 1;
    const sum = step.sum + (state.distances.get(step.entity) ?? 0);
    state.paths.set(step.entity, Math.max(state.paths.get(step.entity) ?? 0, sum));
    const trail = new Set([...step.trail, step.entity]);
    for (const callee of state.callees.get(step.entity) ?? []) {
      if (state.anomalous.has(callee) && !trail.has(callee)) stack.push({ entity: callee, sum, trail });
    }
  }
}
