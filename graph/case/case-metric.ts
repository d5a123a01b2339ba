/** The metric column of a case: a plain name as others write it, or `metric|statistic|attributes` as we do. */
import type { SnapshotSeries } from "../../contract/evidence.ts";
import { metricKind, metricWords } from "../../contract/metric-kind.ts";
import { Statistic, seriesId } from "../../contract/series.ts";

export interface CaseMetric {
  readonly metric: string;
  readonly statistic: Statistic;
  readonly attributes: string;
  /** Good values are high: turned into the share that is missing, so that up is always worse. */
  readonly inverted: "yes" | "no";
}

/** Reads a name; unknown ones are gauges. */
export function caseMetricOf(name: string): CaseMetric {
  const [metric = name, statistic, attributes = ""] = name.split("|");
  const written = Statistic.safeParse(statistic);
  if (written.success) return { metric, statistic: written.data, attributes, inverted: "no" };
  const words = metricWords(name);
  const inverted =
    words.some((word) => word === "availability" || word === "successrate") || hasPair(words, "success", "rate") ? "yes" : "no";
  return { metric: name, statistic: inverted === "yes" ? "error_ratio" : statisticOf(words), attributes: "", inverted };
}

/** The name under which a series is written. */
export function caseMetricName(series: Pick<SnapshotSeries, "metric" | "statistic" | "attributes">): string {
  const clean = (text: string): string => text.replaceAll("|", "_");
  if (series.statistic === "value" && series.attributes === "") return clean(series.metric);
  return `${clean(series.metric)}|${series.statistic}|${clean(series.attributes)}`;
}

function hasPair(words: readonly string[], first: string, second: string): boolean {
  return words.some((word, index) => word === first && words[index + 1] === second);
}

function statisticOf(words: readonly string[]): Statistic {
  const has = (...some: string[]): boolean => some.some((word) => words.includes(word));
  if (has("p50", "50", "median")) return "p50";
  if (has("p90", "p95", "90", "95")) return "p95";
  if (has("p99", "99")) return "p99";
  if (has("avg", "average", "mean")) return "mean";
  if ((has("error", "failure") && has("rate", "ratio")) || hasPair(words, "error", "ratio")) return "error_ratio";
  return "value";
}

/** Samples of one series of a case, put in order of time; of two at the same time the later row counts. */
export function caseSeries(entity: string, name: CaseMetric, samples: { atMs: number[]; values: number[] }): SnapshotSeries {
  const key = { entity, metric: name.metric, statistic: name.statistic, attributes: name.attributes };
  const nature = metricKind(name.metric, name.statistic);
  const latest = new Map<number, number>();
  for (const [index, at] of samples.atMs.entries()) latest.set(at, samples.values[index] ?? 0);
  const atMs = [...latest.keys()].sort((left, right) => left - right);
  const values = atMs.map((at) => latest.get(at) ?? 0);
  return {
    id: `series:${seriesId(key)}`,
    ...key,
    kind: nature.kind,
    scope: nature.scope,
    unit: nature.unit === "" && nature.kind === "latency" ? "s" : nature.unit,
    atMs,
    values: name.inverted === "yes" ? missingShares(values) : values,
  };
}

/** 1 − share, for shares of 0..1 or percentages. */
function missingShares(values: readonly number[]): number[] {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, value);
  const whole = largest > 1.5 ? 100 : 1;
  return values.map((value) => Math.max(0, 1 - value / whole));
}
