/**
 * Changes as a prior: recent ones make the deviation of their own entity more telling. A change never stands alone, so
 * that a harmless deploy on a healthy entity is worth nothing, and it must not be later than what it should explain.
 */
import type { Change } from "../contract/change.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { MetricView } from "./metric-view.ts";
import { gateOf } from "./metric-view.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

/** After this many windows a change counts half as much. */
const halfLifeWindows = 30;
/** Clocks, windows and announcements may disagree by so many windows. */
const slackWindows = 3;
/** Series that deviate less firmly than this do not tell when trouble began. */
const firmGate = 0.6;

export interface WeighedChange {
  readonly change: Change;
  readonly target: { readonly type: "entity" | "dependency"; readonly id: string };
  /** 0..1 by how shortly before the onset it was; 0 when it came after. */
  readonly weight: number;
  /** Onset less time of change. */
  readonly lagMs: number;
}

/** When an entity's or dependency's trouble began, by its own series; the fault's beginning where they do not say. */
export type OnsetOf = (owner: string) => number;

export function onsetsOf(snapshot: EvidenceSnapshot, view: MetricView): OnsetOf {
  const onsets = new Map<string, number>();
  for (const [owner, all] of [...view.entities, ...view.edges]) {
    for (const { series, deviation } of all) {
      if (deviation.onsetMs === null || series.kind === "traffic" || series.kind === "other" || gateOf(deviation.z) < firmGate) continue;
      onsets.set(owner, Math.min(onsets.get(owner) ?? deviation.onsetMs, deviation.onsetMs));
    }
  }
  return (owner) => onsets.get(owner) ?? snapshot.fault.fromMs;
}

/** Every change of the snapshot with its weight. */
export function weighedChanges(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood, onsetOf: OnsetOf): WeighedChange[] {
  return snapshot.changes.map((change) => {
    const edge = neighbourhood.edgeOf(change.entity);
    const target =
      edge === null ? ({ type: "entity", id: neighbourhood.fold(change.entity) } as const) : ({ type: "dependency", id: edge.id } as const);
    // The later of the two, because an onset that chance put before the fault must not acquit the change in between.
    const lagMs = Math.max(onsetOf(target.id), snapshot.fault.fromMs) - change.atMs;
    return { change, target, lagMs, weight: weightOf(lagMs, snapshot.windowMs) };
  });
}

function weightOf(lagMs: number, windowMs: number): number {
  const slackMs = slackWindows * windowMs;
  if (lagMs < -slackMs) return 0;
  const halfMs = halfLifeWindows * windowMs;
  return halfMs / (halfMs + Math.max(0, lagMs - slackMs));
}
