/**
 * The bounds on a reduction. Each keeps the first N by an order that does not depend on what else is there,
 * so bounding parts and then the whole gives the same as bounding the whole: merging stays exact.
 */
import { canonicalJson, compareCodeUnits, hash32, sortedBy } from "../contract/canonical.ts";
import { derivedMetric } from "../contract/series.ts";
import type { HalfDependency, KeptLine, KeptSpan, ShapeCount } from "../contract/window.ts";
import { otherAttributes } from "./attribute-keys.ts";
import { compareNumbers, firstDifference } from "./exact.ts";
import {
  type Accumulator,
  accumulatorKey,
  addAccumulator,
  addCount,
  addShape,
  addSlowSpan,
  type BoundName,
  compareSpans,
  type EntityPart,
  type ReduceOptions,
  type WindowPart,
} from "./reduction.ts";

type Bounds = Map<BoundName, number>;

/** The shape of all lines whose own shape found no place. */
const otherShape = { shape: "0000000000000000", text: "(other lines)" } as const;
/** Key of the slow spans of operations that found no place; sorts after every other. */
const otherOperations = "\uffff";

/** Cuts everything of these entities to the bounds, in place, and counts what that did. */
export function boundEntities(entities: Map<string, EntityPart>, options: ReduceOptions, bounds: Bounds): void {
  if (entities.size > options.entitiesMax) {
    const dropped = [...entities.keys()].sort(compareCodeUnits).slice(options.entitiesMax);
    for (const entity of dropped) entities.delete(entity);
    addCount(bounds, "entities-dropped", dropped.length);
  }
  for (const part of entities.values()) {
    cutMap(part.observations, options.observationsMax, (count) => addCount(bounds, "observations-dropped", count));
    for (const window of part.windows.values()) boundWindow(window, options, bounds);
  }
}

function boundWindow(part: WindowPart, options: ReduceOptions, bounds: Bounds): void {
  foldSeries(part.partials, options.seriesPerMetricMax, bounds);
  dropSeries(part.partials, options.seriesPerEntityMax, bounds);
  foldShapes(part.shapes, options.shapesMax, bounds);
  foldOperations(part.slowSpans, options);
  const spanDropped = (count: number) => addCount(bounds, "spans-dropped", count);
  part.failedSpans = firstSpans(part.failedSpans, options.failedSpansMax, spanDropped);
  part.sampledSpans = firstSpans(part.sampledSpans, options.sampledSpansMax, spanDropped);
  const lineDropped = (count: number) => addCount(bounds, "lines-dropped", count);
  part.errorLines = firstLines(part.errorLines, options.errorLinesMax, lineDropped);
  part.sampledLines = firstLines(part.sampledLines, options.sampledLinesMax, lineDropped);
}

/** Keeps the first sets of attributes of each metric by code unit and folds the others together. */
function foldSeries(partials: Map<string, Accumulator>, countMax: number, bounds: Bounds): void {
  if (partials.size <= countMax) return;
  const byMetric = new Map<string, Set<string>>();
  for (const item of partials.values()) {
    if (item.attributes === otherAttributes) continue;
    const metric = `${item.kind}\n${item.metric}`;
    const sets = byMetric.get(metric) ?? new Set();
    byMetric.set(metric, sets.add(item.attributes));
  }
  const kept = new Map<string, ReadonlySet<string>>();
  for (const [metric, sets] of byMetric) {
    if (sets.size <= countMax) continue;
    kept.set(metric, new Set([...sets].sort(compareCodeUnits).slice(0, countMax)));
    addCount(bounds, "series-folded", sets.size - countMax);
  }
  if (kept.size === 0) return;
  for (const [key, item] of [...partials]) {
    const sets = kept.get(`${item.kind}\n${item.metric}`);
    if (sets === undefined || item.attributes === otherAttributes || sets.has(item.attributes)) continue;
    partials.delete(key);
    addAccumulator(partials, { ...item, attributes: otherAttributes }, "yes");
  }
}

/** What senders name themselves is bounded; what Headwater derives from spans and lines is bounded by folding alone. */
function dropSeries(partials: Map<string, Accumulator>, countMax: number, bounds: Bounds): void {
  if (partials.size <= countMax) return;
  const keys: string[] = [];
  for (const [key, item] of partials) if (item.kind !== "duration" && item.metric !== derivedMetric.logRecords) keys.push(key);
  if (keys.length <= countMax) return;
  const dropped = keys.sort(compareCodeUnits).slice(countMax);
  for (const key of dropped) partials.delete(key);
  addCount(bounds, "series-dropped", dropped.length);
}

function foldShapes(shapes: Map<string, ShapeCount>, countMax: number, bounds: Bounds): void {
  const own = [...shapes.values()].filter((item) => item.shape !== otherShape.shape);
  if (own.length <= countMax) return;
  const folded = sortedBy(own, (item) => `${item.shape}\n${item.severity}`).slice(countMax);
  for (const item of folded) {
    shapes.delete(`${item.shape}\n${item.severity}`);
    addShape(shapes, { ...item, ...otherShape });
  }
  addCount(bounds, "shapes-folded", folded.length);
}

function foldOperations(slowSpans: Map<string, KeptSpan[]>, options: ReduceOptions): void {
  const keys = [...slowSpans.keys()].filter((key) => key !== otherOperations);
  if (keys.length <= options.slowOperationsMax) return;
  const other = slowSpans.get(otherOperations) ?? [];
  for (const key of keys.sort(compareCodeUnits).slice(options.slowOperationsMax)) {
    for (const span of slowSpans.get(key) ?? []) addSlowSpan(other, span, options.slowestPerOperation);
    slowSpans.delete(key);
  }
  slowSpans.set(otherOperations, other);
}

/** By a hash of the trace id, so that the same traces are kept whole in every service. */
function firstSpans(spans: KeptSpan[], countMax: number, dropped: (count: number) => void): KeptSpan[] {
  if (spans.length <= countMax) return spans;
  const ordered = spans
    .map((span) => ({ span, hash: hash32(span.traceId) }))
    .sort((left, right) => firstDifference(compareNumbers(left.hash, right.hash), compareSpans(left.span, right.span)));
  dropped(spans.length - countMax);
  return ordered.slice(0, countMax).map(({ span }) => span);
}

/** The earliest lines of the window. */
function firstLines(lines: KeptLine[], countMax: number, dropped: (count: number) => void): KeptLine[] {
  if (lines.length <= countMax) return lines;
  dropped(lines.length - countMax);
  return lines.sort(compareLines).slice(0, countMax);
}

/** By time, then by content. */
export function compareLines(left: KeptLine, right: KeptLine): number {
  const byTime = compareNumbers(left.atUs, right.atUs);
  return byTime === 0 && left !== right ? compareCodeUnits(canonicalJson(left), canonicalJson(right)) : byTime;
}

/** Sorts the halves of a partition and cuts them to the bound. */
export function boundHalves(halves: HalfDependency[], options: ReduceOptions, bounds: Bounds): HalfDependency[] {
  const sorted = halves.sort(compareHalves);
  if (sorted.length <= options.halvesMax) return sorted;
  addCount(bounds, "halves-dropped", sorted.length - options.halvesMax);
  return sorted.slice(0, options.halvesMax);
}

function compareHalves(left: HalfDependency, right: HalfDependency): number {
  return firstDifference(
    compareCodeUnits(left.traceId, right.traceId),
    compareCodeUnits(left.spanId ?? "", right.spanId ?? ""),
    compareCodeUnits(left.side, right.side),
    compareCodeUnits(left.entity, right.entity),
    compareNumbers(left.atMs, right.atMs),
    compareCodeUnits(left.peer ?? "", right.peer ?? ""),
    compareCodeUnits(left.protocol, right.protocol),
    compareCodeUnits(left.learnedFrom ?? "", right.learnedFrom ?? ""),
  );
}

function cutMap(map: Map<string, unknown>, countMax: number, dropped: (count: number) => void): void {
  if (map.size <= countMax) return;
  const keys = [...map.keys()].sort(compareCodeUnits).slice(countMax);
  for (const key of keys) map.delete(key);
  dropped(keys.length);
}

/** The accumulators of a window in the order of their keys. */
export function sortedAccumulators(partials: ReadonlyMap<string, Accumulator>): Accumulator[] {
  return sortedBy(partials.values(), accumulatorKey);
}
