/** Stored series and templates as evidence. */
import { sortedBy } from "../../contract/canonical.ts";
import type { Interval, SnapshotSeries, SnapshotTemplate } from "../../contract/evidence.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import type { StoredSeries, TemplateCount } from "../../contract/port.ts";
import { derivedMetric, seriesId } from "../../contract/series.ts";
import type { SelectedGraph } from "./select-graph.ts";

/** What a caller measured of a callee belongs to the dependency between them, where its address is known. */
export function selectSeries(stored: readonly StoredSeries[], graph: SelectedGraph): SnapshotSeries[] {
  const series = stored.flatMap(({ key, unit, samples }): SnapshotSeries[] => {
    const values = samples.filter((sample) => Number.isFinite(sample.value));
    if (values.length === 0) return [];
    const { kind, scope } = metricKind(key.metric, key.statistic);
    const address = key.metric === derivedMetric.clientDuration && key.attributes.startsWith("peer=") ? key.attributes.slice(5) : null;
    const dependency = address === null ? null : graph.dependencyAt(key.entity, address);
    return [
      {
        id: `series:${seriesId(key)}`,
        entity: dependency?.id ?? key.entity,
        metric: key.metric,
        statistic: key.statistic,
        attributes: key.attributes,
        kind,
        scope,
        unit,
        atMs: values.map((sample) => sample.windowStartMs),
        values: values.map((sample) => sample.value),
      },
    ];
  });
  return sortedBy(series, ({ id }) => id);
}

/** Log templates with how often each was seen in both intervals, and when first. */
export function selectTemplates(counts: readonly TemplateCount[], intervals: { normal: Interval; fault: Interval }): SnapshotTemplate[] {
  const templates = new Map<string, SnapshotTemplate>();
  const within = (atMs: number, { fromMs, toMs }: Interval): boolean => atMs >= fromMs && atMs < toMs;
  for (const { entity, template, severity, text, windowStartMs, count } of counts) {
    const id = `template:${entity}|${template}`;
    const before = templates.get(id) ?? { id, entity, text, severity, normalCount: 0, abnormalCount: 0, firstSeenMs: null };
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
