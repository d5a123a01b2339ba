/** A process that stopped reporting, and whether anybody missed it. Channel `silence`. */
import { compareCodeUnits } from "../contract/canonical.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { Contribution } from "./contribution.ts";
import type { Split } from "./deviation.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { type Silence, silencesOf, speaksOfLife } from "./silence.ts";
import { type SpanView, totalOf } from "./span-view.ts";
import { seriesText } from "./wording.ts";

/** Strength of a silence that no caller noticed: a scaled-down or replaced instance. */
const unnoticed = 0.15;

export interface SilenceView {
  /** 0..1: share of an entity's internal series that stopped. */
  silenceOf(entity: string): number;
  readonly contributions: readonly Contribution[];
}

/** Silent entities of a snapshot. */
export function silenceViewOf(
  snapshot: EvidenceSnapshot,
  context: { neighbourhood: Neighbourhood; spans: SpanView; split: Split; failsMore: (entity: string) => boolean },
): SilenceView {
  const { neighbourhood, spans, split } = context;
  const owned = snapshot.series.filter((series) => neighbourhood.edgeOf(series.entity) === null);
  const totals = new Map<string, number>();
  for (const series of owned) {
    if (!speaksOfLife(series) || series.atMs.length === 0) continue;
    const owner = neighbourhood.fold(series.entity);
    totals.set(owner, (totals.get(owner) ?? 0) + 1);
  }
  const silent = new Map<string, Silence[]>();
  for (const silence of silencesOf(owned, split)) {
    const owner = neighbourhood.fold(silence.series.entity);
    const list = silent.get(owner);
    if (list === undefined) silent.set(owner, [silence]);
    else list.push(silence);
  }
  const silenceOf = (entity: string): number => (silent.get(entity)?.length ?? 0) / Math.max(1, totals.get(entity) ?? 0);
  const contributions = [...silent].flatMap(([entity, list]) => {
    const share = silenceOf(entity);
    // One series that stopped is a lost metric; a process that ended takes all of them along.
    if (share < 0.5) return [];
    const noticed = missed(entity, spans) || neighbourhood.callers(entity).some(context.failsMore);
    return [contributionOf(entity, list, share * (noticed ? 1 : unnoticed))];
  });
  return { silenceOf, contributions };
}

function missed(entity: string, spans: SpanView): boolean {
  const calls = spans.arriving(entity).flatMap((edge) => edge.operations);
  const failed = totalOf(calls, "abnormal", "failed") / Math.max(1, totalOf(calls, "abnormal", "count"));
  return failed > 0.1;
}

function contributionOf(entity: string, silences: readonly Silence[], amount: number): Contribution {
  const since = Math.min(...silences.map((silence) => silence.sinceMs));
  const named = silences.map((silence) => seriesText(silence.series)).sort(compareCodeUnits)[0] ?? "";
  const others = silences.length > 1 ? ` and ${silences.length - 1} more` : "";
  return {
    type: "entity",
    id: entity,
    channel: "silence",
    amount,
    text: `stopped reporting ${named}${others}`,
    evidence: silences.map((silence) => silence.series.id).slice(0, 50),
    onsetMs: since,
    kind: "crash",
  };
}
