/** Stored series and templates as evidence. */
import { sortedBy } from "../../contract/canonical.ts";
import type { Dependency } from "../../contract/entity.ts";
import type { Interval, SnapshotSeries, SnapshotTemplate } from "../../contract/evidence.ts";
import { isConnectionMetric, isFromKernel, kernelEventOf, kernelSourceAttribute } from "../../contract/kernel-telemetry.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import type { StoredSeries, TemplateCount } from "../../contract/port.ts";
import { derivedMetric, type SeriesKey, seriesId } from "../../contract/series.ts";
import type { SelectedGraph } from "./select-graph.ts";

/**
 * What a caller measured of a callee belongs to the dependency between them, where its address is known. What the kernel tells is left out
 * where the program itself tells the same, so that nothing counts twice.
 */
export function selectSeries(stored: readonly StoredSeries[], graph: SelectedGraph): SnapshotSeries[] {
  const series = stored.flatMap(({ key, unit, samples }): SnapshotSeries[] => {
    const values = samples.filter((sample) => Number.isFinite(sample.value));
    if (values.length === 0) return [];
    const { kind, scope } = metricKind(key.metric, key.statistic);
    return [
      {
        id: `series:${seriesId(key)}`,
        entity: dependencyOf(key, graph)?.id ?? key.entity,
        metric: key.metric,
        statistic: key.statistic,
        attributes: key.attributes,
        kind,
        scope,
        unit,
        atMs: values.map((sample) => sample.windowStartMs),
        values: values.map((sample) => sample.value),
        ...(isFromKernel(key) ? ({ source: "kernel" } as const) : {}),
      },
    ];
  });
  const told = new Set(series.filter(({ source }) => source === undefined).map(quantityOf));
  const kept = series.filter((item) => item.source === undefined || !told.has(quantityOf(item)));
  return sortedBy(kept, ({ id }) => id);
}

function dependencyOf({ entity, metric, attributes }: SeriesKey, graph: SelectedGraph): Dependency | null {
  const peer = /(?:^|,)peer=(.*)$/.exec(attributes)?.[1];
  if (peer === undefined) return null;
  if (metric === derivedMetric.kernelClientDuration || isConnectionMetric(metric)) return graph.dependencyReached(entity, peer);
  return metric === derivedMetric.clientDuration && attributes.startsWith("peer=") ? graph.dependencyAt(entity, peer) : null;
}

const spanMetricOf: ReadonlyMap<string, string> = new Map([
  [derivedMetric.kernelServerDuration, derivedMetric.serverDuration],
  [derivedMetric.kernelClientDuration, derivedMetric.clientDuration],
]);

/**
 * The same for two series of which one must go. Operations of requests are named differently from below, so any one of the program's
 * stands for all of an entity or a dependency.
 */
function quantityOf({ entity, metric, statistic, attributes }: SnapshotSeries): string {
  const told = spanMetricOf.get(metric) ?? metric;
  if (told === derivedMetric.serverDuration || told === derivedMetric.clientDuration) return JSON.stringify([entity, told]);
  const own = attributes
    .split(",")
    .filter((attribute) => attribute !== kernelSourceAttribute)
    .join(",");
  return JSON.stringify([entity, told, statistic, own]);
}

/** Log templates with how often each was seen in both intervals, and when first. */
export function selectTemplates(counts: readonly TemplateCount[], intervals: { normal: Interval; fault: Interval }): SnapshotTemplate[] {
  const templates = new Map<string, SnapshotTemplate>();
  const within = (atMs: number, { fromMs, toMs }: Interval): boolean => atMs >= fromMs && atMs < toMs;
  for (const { entity, template, severity, text, windowStartMs, count } of counts) {
    const id = `template:${entity}|${template}`;
    const source = kernelEventOf(text) === null ? {} : ({ source: "kernel" } as const);
    const before = templates.get(id) ?? { id, entity, text, severity, normalCount: 0, abnormalCount: 0, firstSeenMs: null, ...source };
    templates.set(id, {
      ...before,
      severity: moreSevere(before.severity, severity),
      normalCount: before.normalCount + (within(windowStartMs, intervals.normal) ? count : 0),
      abnormalCount: before.abnormalCount + (within(windowStartMs, intervals.fault) ? count : 0),
      firstSeenMs: Math.min(before.firstSeenMs ?? windowStartMs, windowStartMs),
    });
  }
  return sortedBy(templates.values(), ({ id }) => id);
}

const severities = ["DEBUG", "INFO", "WARN", "ERROR"] as const;

function moreSevere(left: SnapshotTemplate["severity"], right: SnapshotTemplate["severity"]): SnapshotTemplate["severity"] {
  return severities.indexOf(left) >= severities.indexOf(right) ? left : right;
}
