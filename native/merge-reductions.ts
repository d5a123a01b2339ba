/** Many reductions to the content of one entry per partition, exactly and whatever their order. */
import { compareCodeUnits, partitionCount, partitionOf, sortedBy } from "../contract/canonical.ts";
import { lostBatchesPartition } from "../contract/lost-batches.ts";
import type { DependencyEntry, KeptSpan, Partial, SourceProgress, WindowEntry } from "../contract/window.ts";
import { compareNumbers, firstDifference } from "./exact.ts";
import { sortedBuckets } from "./histogram.ts";
import {
  type Accumulator,
  addAccumulator,
  addCount,
  addObservation,
  addShape,
  addSlowSpan,
  type BoundName,
  compareSpans,
  type EntityPart,
  emptyEntityPart,
  emptyHalves,
  emptyWindowPart,
  type ReduceOptions,
  type Reduction,
  type RejectReason,
  type RejectSample,
  type WindowPart,
} from "./reduction.ts";
import { boundEntities, boundHalves, compareLines, sortedAccumulators } from "./reduction-bounds.ts";

/** Entries by partition, 16 of each. Every one holds the progress of every batch. */
export interface MergedReductions {
  readonly windows: readonly WindowEntry[];
  readonly dependencies: readonly DependencyEntry[];
  readonly itemCount: number;
  readonly rejects: ReadonlyMap<RejectReason, number>;
  /** At most one per reason. */
  readonly samples: readonly RejectSample[];
  readonly bounds: ReadonlyMap<BoundName, number>;
}

/**
 * Merges and bounds. The entries are the same for every order of the reductions and every way in which the same items were spread over
 * batches, but for `progress`, which names the batches. The reductions are not changed.
 */
export function mergeReductions(reductions: readonly Reduction[], options: ReduceOptions): MergedReductions {
  const entities = new Map<string, EntityPart>();
  const halves = emptyHalves();
  const rejects = new Map<RejectReason, number>();
  const bounds = new Map<BoundName, number>();
  const samples = new Map<RejectReason, RejectSample>();
  let itemCount = 0;
  for (const reduction of reductions) {
    for (const [entity, part] of reduction.entities) addEntityPart(entities, entity, part, options);
    reduction.halves.forEach((list, partition) => {
      for (const half of list) halves[partition]?.push(half);
    });
    for (const [reason, count] of reduction.rejects) addCount(rejects, reason, count);
    for (const [name, count] of reduction.bounds) addCount(bounds, name, count);
    for (const sample of reduction.samples) if (!samples.has(sample.reason)) samples.set(sample.reason, sample);
    itemCount += reduction.itemCount;
  }
  boundEntities(entities, options, bounds);
  const progress = progressOf(reductions);
  const windows = Array.from(
    { length: partitionCount },
    (_, partition): WindowEntry => ({
      progress: partition === lostBatchesPartition ? namedProgress(progress, reductions) : progress,
      ...{ partials: [], spans: [], shapes: [], lines: [] },
    }),
  );
  const dependencies = halves.map((list): DependencyEntry => ({ progress, halves: boundHalves(list, options, bounds), observations: [] }));
  for (const [entity, part] of sortedBy(entities, ([key]) => key)) {
    const partition = partitionOf(entity);
    const entry = windows[partition] as WindowEntry;
    for (const [startMs, window] of [...part.windows].sort(([left], [right]) => compareNumbers(left, right))) {
      writeWindow(entry, entity, startMs, window);
    }
    const observations = sortedBy(part.observations, ([key]) => key).map(([, observation]) => observation);
    dependencies[partition]?.observations.push(...observations);
  }
  return { windows, dependencies, itemCount, rejects, samples: [...samples.values()], bounds };
}

function progressOf(reductions: readonly Reduction[]): SourceProgress[] {
  return reductions
    .map(({ source, sequence, newestAtUs, receivedAtMs }) => ({ source, sequence, atUs: newestAtUs, receivedAtMs }))
    .sort((left, right) => firstDifference(compareCodeUnits(left.source, right.source), compareNumbers(left.sequence, right.sequence)));
}

/** With the gateways that number the sources. */
function namedProgress(progress: readonly SourceProgress[], reductions: readonly Reduction[]): SourceProgress[] {
  const gateways = new Map(reductions.map(({ source, gateway }) => [source, gateway]));
  return progress.map((row) => ({ ...row, gateway: gateways.get(row.source) }));
}

function addEntityPart(entities: Map<string, EntityPart>, entity: string, part: EntityPart, options: ReduceOptions): void {
  const into = entities.get(entity) ?? emptyEntityPart();
  entities.set(entity, into);
  for (const observation of part.observations.values()) addObservation(into.observations, observation);
  for (const [startMs, window] of part.windows) {
    const target = into.windows.get(startMs) ?? emptyWindowPart();
    into.windows.set(startMs, target);
    addWindowPart(target, window, options);
  }
}

function addWindowPart(into: WindowPart, part: WindowPart, options: ReduceOptions): void {
  for (const item of part.partials.values()) addAccumulator(into.partials, item, "no");
  for (const span of part.failedSpans) into.failedSpans.push(span);
  for (const span of part.sampledSpans) into.sampledSpans.push(span);
  for (const [key, spans] of part.slowSpans) {
    const slow = into.slowSpans.get(key) ?? [];
    into.slowSpans.set(key, slow);
    for (const span of spans) addSlowSpan(slow, span, options.slowestPerOperation);
  }
  for (const shape of part.shapes.values()) addShape(into.shapes, shape);
  for (const line of part.errorLines) into.errorLines.push(line);
  for (const line of part.sampledLines) into.sampledLines.push(line);
}

function writeWindow(entry: WindowEntry, entity: string, windowStartMs: number, part: WindowPart): void {
  for (const item of sortedAccumulators(part.partials)) entry.partials.push(partialOf(item, entity, windowStartMs));
  for (const span of keptSpans(part)) entry.spans.push(span);
  for (const shape of sortedBy(part.shapes.values(), (item) => `${item.shape}\n${item.severity}`)) entry.shapes.push(shape);
  for (const line of [...part.errorLines, ...part.sampledLines].sort(compareLines)) entry.lines.push(line);
}

function partialOf(item: Accumulator, entity: string, windowStartMs: number): Partial {
  const key = { entity, windowStartMs };
  if (item.kind === "duration") return { ...item, ...key, buckets: sortedBuckets(item.buckets) };
  if (item.kind === "count" || item.kind === "histogram") return { ...item, ...key, sum: String(item.sum) };
  return { ...item, ...key };
}

/** Each span once, in order of its ids; why it is kept is decided here, where it is known which were slowest. */
function keptSpans(part: WindowPart): KeptSpan[] {
  const slow = new Set([...part.slowSpans.values()].flat());
  const sorted = [...slow, ...part.failedSpans, ...part.sampledSpans].sort(compareSpans);
  const kept: KeptSpan[] = [];
  let previous: KeptSpan | undefined;
  for (const span of sorted) {
    // The sort is stable, so of equal spans the one from the list of the slowest comes first.
    if (previous !== undefined && compareSpans(previous, span) === 0) continue;
    kept.push(slow.has(span) && !span.failed ? { ...span, keptBecause: "slow" } : span);
    previous = span;
  }
  return kept;
}
