/** Claims of a verdict together with what they rest on: series to draw, operations, log templates, changes; each with its links. */
import type { Change } from "../contract/change.ts";
import type { EvidenceSnapshot, SnapshotOperation, SnapshotSeries, SnapshotTemplate } from "../contract/evidence.ts";
import type { SeriesWithBand } from "../contract/route.ts";
import type { Claim, RankResult } from "../contract/verdict.ts";
import { seriesIdOf } from "./wording.ts";

/** Claims shown for the first candidate; the rest is in the report. */
const claimsMax = 6;
const chartsPerClaimMax = 2;

export interface EvidenceChart {
  readonly id: string;
  readonly series: SnapshotSeries;
}

export interface EvidenceItem {
  readonly claim: Claim;
  readonly charts: readonly EvidenceChart[];
  readonly operations: readonly SnapshotOperation[];
  readonly templates: readonly SnapshotTemplate[];
  readonly changes: readonly Change[];
}

/** Claims for the first candidate, heaviest first. */
export function evidenceFor(result: RankResult, snapshot: EvidenceSnapshot | null): EvidenceItem[] {
  const claims = (result.ranking[0]?.claims ?? []).filter((claim) => claim.stance === "for");
  const drawn = new Set<string>();
  return [...claims]
    .sort((left, right) => right.weight - left.weight)
    .slice(0, claimsMax)
    .map((claim) => itemOf(claim, snapshot, drawn));
}

/** What speaks against the verdict. */
export function evidenceAgainst(result: RankResult, snapshot: EvidenceSnapshot | null): EvidenceItem[] {
  const drawn = new Set<string>();
  return result.counterEvidence.slice(0, claimsMax).map((claim) => itemOf(claim, snapshot, drawn));
}

/** Of one entity a snapshot holds one of the two only. */
const served: ReadonlySet<string> = new Set(["span.server.duration", "kernel.server.duration"]);

/** How the entry services that burn felt it: their share of failures or their p95. */
export function impactCharts(snapshot: EvidenceSnapshot | null): EvidenceChart[] {
  if (snapshot === null) return [];
  const charts = snapshot.symptoms.flatMap((symptom) => {
    const statistics = symptom.metric.includes("latency") ? ["p95"] : ["error_ratio", "p95", "rate"];
    const own = snapshot.series.filter((series) => series.entity === symptom.entity && served.has(series.metric));
    const found = statistics
      .map((statistic) => own.find((series) => series.statistic === statistic))
      .find((series) => series !== undefined);
    return found === undefined ? [] : [{ id: found.id, series: found }];
  });
  return charts.filter((chart, index) => charts.findIndex((other) => other.id === chart.id) === index).slice(0, 3);
}

function itemOf(claim: Claim, snapshot: EvidenceSnapshot | null, drawn: Set<string>): EvidenceItem {
  const ids = new Set(claim.evidence);
  const operations = snapshot?.operations.filter((operation) => ids.has(operation.id)) ?? [];
  const direct = snapshot?.series.filter((series) => ids.has(series.id)) ?? [];
  const candidates = direct.length > 0 ? direct : operations.flatMap((operation) => seriesOfOperation(operation, snapshot));
  // A series is drawn once, beside the first claim that rests on it.
  const charts = candidates.filter((series) => !drawn.has(series.id)).slice(0, chartsPerClaimMax);
  for (const series of charts) drawn.add(series.id);
  return {
    claim,
    charts: charts.map((series) => ({ id: series.id, series })),
    operations,
    templates: snapshot?.templates.filter((template) => ids.has(template.id)) ?? [],
    changes: snapshot?.changes.filter((change) => ids.has(`change:${change.id}`) || ids.has(change.id)) ?? [],
  };
}

/** The series that shows an operation: its p95, or its failures when those are what rose. */
function seriesOfOperation(operation: SnapshotOperation, snapshot: EvidenceSnapshot | null): SnapshotSeries[] {
  const teller = operation.source === "kernel" ? "kernel" : "span";
  const side = `${teller}.${operation.side}.duration`;
  const attributes = `operation=${operation.operation}`;
  const own = snapshot?.series.filter(
    (series) => series.entity === operation.entity && series.metric === side && series.attributes === attributes,
  );
  const wanted = operation.abnormal.failed > operation.normal.failed ? ["error_ratio", "p95"] : ["p95"];
  return wanted.flatMap((statistic) => own?.find((series) => series.statistic === statistic) ?? []).slice(0, 1);
}

/** Whose series are drawn, each once: what is read to get their bands. */
export function entitiesOf(charts: readonly EvidenceChart[]): string[] {
  return [...new Set(charts.map((chart) => chart.series.entity))].slice(0, 8);
}

/** The stored samples with their band, or the sealed values without one where the store has them no longer. */
export function pointsOf(chart: EvidenceChart, stored: readonly SeriesWithBand[]) {
  const found = stored.find((series) => `series:${seriesIdOf(series.key)}` === chart.id);
  if (found === undefined || found.samples.length === 0) {
    const nothing = chart.series.values.map(() => null);
    return { atMs: chart.series.atMs, values: chart.series.values, lower: nothing, upper: nothing };
  }
  return samplePoints(found);
}

/** Samples as columns. */
export function samplePoints(series: SeriesWithBand) {
  return {
    atMs: series.samples.map((sample) => sample.windowStartMs),
    values: series.samples.map((sample) => sample.value),
    lower: series.samples.map((sample) => sample.lower),
    upper: series.samples.map((sample) => sample.upper),
  };
}

/** The entity whose screen shows this: itself, or the caller of a dependency. Names may hold any character, so nothing is taken apart. */
export function ownerOf(id: string, snapshot: EvidenceSnapshot | null): string {
  if (snapshot?.entities.some((entity) => entity.id === id)) return id;
  return snapshot?.dependencies.find((dependency) => dependency.id === id)?.source ?? id;
}

/** "caller → callee" for a dependency, else the id as it is. */
export function nameOf(id: string, snapshot: EvidenceSnapshot | null): string {
  if (snapshot?.entities.some((entity) => entity.id === id)) return id;
  const dependency = snapshot?.dependencies.find((one) => one.id === id);
  return dependency === undefined ? id : `${dependency.source} → ${dependency.target}`;
}
