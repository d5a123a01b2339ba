/** What a claim rests on, in words and numbers. */
import type { EvidenceSnapshot, SnapshotOperation, SnapshotSeries, SpanStatistics } from "../contract/evidence.ts";
import { numberText, percentText, secondsText, seriesText, valueText } from "./value-text.ts";

export interface EvidenceRef {
  readonly id: string;
  /** A line for people; the id again where the snapshot does not hold it. */
  readonly text: string;
}

const refsMax = 6;

/** The first few of a claim's evidence ids, resolved in the snapshot. */
export function evidenceRefs(ids: readonly string[], snapshot: EvidenceSnapshot | null): EvidenceRef[] {
  return ids.slice(0, refsMax).map((id) => ({ id, text: snapshot === null ? id : (lineOf(id, snapshot) ?? id) }));
}

function lineOf(id: string, snapshot: EvidenceSnapshot): string | null {
  const series = snapshot.series.find((item) => item.id === id);
  if (series !== undefined) return seriesLine(series, snapshot);
  const operation = snapshot.operations.find((item) => item.id === id);
  if (operation !== undefined) return operationLine(operation);
  const template = snapshot.templates.find((item) => item.id === id);
  if (template !== undefined) {
    const { entity, severity, text, normalCount, abnormalCount } = template;
    return `${entity}: ${severity} "${text}" ${normalCount} times before, ${abnormalCount} during`;
  }
  const change = snapshot.changes.find((item) => `change:${item.id}` === id);
  if (change !== undefined) return `${change.entity}: ${change.kind} "${change.summary}"`;
  return id.startsWith("span:") ? `span ${id.slice(5)}` : null;
}

function seriesLine(series: SnapshotSeries, snapshot: EvidenceSnapshot): string {
  const before = middleOf(series, snapshot.normal);
  const during = middleOf(series, snapshot.fault);
  const told = (value: number | null): string => (value === null ? "no value" : valueText(series, value));
  return `${series.entity}: ${seriesText(series)}, median ${told(before)} before, ${told(during)} during`;
}

function middleOf(series: SnapshotSeries, within: { fromMs: number; toMs: number }): number | null {
  const values = series.values.filter((_, index) => {
    const atMs = series.atMs[index] ?? 0;
    return atMs >= within.fromMs && atMs < within.toMs;
  });
  const sorted = values.sort((left, right) => left - right);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
}

function operationLine(operation: SnapshotOperation): string {
  const { entity, side, operation: name, normal, abnormal, exception } = operation;
  const what = side === "client" ? `${entity} calling ${operation.callee ?? name}` : `${entity}: ${name}`;
  const because = exception === null ? "" : `; ${exception}`;
  return `${what}, ${spansText(normal)} before, ${spansText(abnormal)} during${because}`;
}

function spansText({ count, failed, p95Ns }: SpanStatistics): string {
  if (count === 0) return "no request";
  return `${numberText(count)} requests (${percentText(failed / count)} failed, p95 ${secondsText(p95Ns / 1e9)})`;
}
