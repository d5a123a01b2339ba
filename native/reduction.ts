/** What reducing a batch leaves: accumulators by entity and window that merge exactly, in any order (design §4, Determinism). */
import { canonicalJson, compareCodeUnits, partitionCount } from "../contract/canonical.ts";
import { seriesPerMetricMax } from "../contract/series.ts";
import type {
  CountPartial,
  CumulativePartial,
  DurationPartial,
  EntityObservation,
  GaugePartial,
  HalfDependency,
  HistogramPartial,
  KeptLine,
  KeptSpan,
  ShapeCount,
} from "../contract/window.ts";
import { otherAttributes } from "./attribute-keys.ts";
import { compareNumbers, firstDifference, saturatingSum } from "./exact.ts";

/** Bounds hold per entity and window of each reduction, and again of each merge, unless they say otherwise. */
export interface ReduceOptions {
  readonly windowMs: number;
  /** Event times further before or after the receipt are rejects. */
  readonly pastMaxMs: number;
  readonly futureMaxMs: number;
  /** Spans that took longer are rejects. */
  readonly spanDurationMaxMs: number;
  /** Slowest spans kept per operation and kind. */
  readonly slowestPerOperation: number;
  /** One healthy span of so many is kept, by trace id. */
  readonly spanSampleOneIn: number;
  /** One line below ERROR of so many is kept, by trace id, else by content. */
  readonly lineSampleOneIn: number;
  /** Sets of attributes per metric; the rest is folded into `other=true`. */
  readonly seriesPerMetricMax: number;
  /** Series that are not derived by us (metric, attributes and stream); the rest is dropped. */
  readonly seriesPerEntityMax: number;
  /** Operations with slowest spans of their own; the others share theirs. */
  readonly slowOperationsMax: number;
  readonly failedSpansMax: number;
  readonly sampledSpansMax: number;
  readonly errorLinesMax: number;
  readonly sampledLinesMax: number;
  /** Line shapes; the rest is folded into one shape. */
  readonly shapesMax: number;
  /** Observations per entity. */
  readonly observationsMax: number;
  /** Entities per reduction or merge. */
  readonly entitiesMax: number;
  /** Half-dependencies per partition of each reduction or merge. */
  readonly halvesMax: number;
}

/** The defaults of everything but the length of a window. */
export const reduceDefaults: Omit<ReduceOptions, "windowMs"> = {
  pastMaxMs: 3_600_000,
  futureMaxMs: 300_000,
  spanDurationMaxMs: 86_400_000,
  slowestPerOperation: 3,
  spanSampleOneIn: 4,
  lineSampleOneIn: 8,
  seriesPerMetricMax,
  seriesPerEntityMax: 2_000,
  slowOperationsMax: 50,
  failedSpansMax: 200,
  sampledSpansMax: 200,
  errorLinesMax: 200,
  sampledLinesMax: 100,
  shapesMax: 200,
  observationsMax: 64,
  entitiesMax: 5_000,
  halvesMax: 20_000,
};

/** Why an item was not used. */
export type RejectReason =
  | "body-malformed"
  | "item-malformed"
  | "no-entity"
  | "id-invalid"
  | "unknown-enum"
  | "name-missing"
  | "time-missing"
  | "time-out-of-range"
  | "duration-negative"
  | "duration-out-of-range"
  | "value-missing"
  | "value-not-finite"
  | "value-out-of-range"
  | "histogram-malformed"
  | "temporality-unspecified"
  | "no-recorded-value";

/** What a bound did: `…-folded` keeps the numbers under a shared key, `…-dropped` does not. */
export type BoundName =
  | "series-folded"
  | "series-dropped"
  | "shapes-folded"
  | "spans-dropped"
  | "lines-dropped"
  | "observations-dropped"
  | "entities-dropped"
  | "halves-dropped";

type Unkeyed<T> = Omit<T, "entity" | "windowStartMs">;

/** Partials while they are added up: entity and window are where they stand, sums are integers. */
export type Accumulator =
  | (Omit<Unkeyed<DurationPartial>, "buckets"> & { buckets: Map<number, number> })
  | (Omit<Unkeyed<CountPartial>, "sum"> & { sum: bigint })
  | Unkeyed<GaugePartial>
  | Unkeyed<CumulativePartial>
  | (Omit<Unkeyed<HistogramPartial>, "sum"> & { sum: bigint });

/** One entity in one window. */
export interface WindowPart {
  readonly partials: Map<string, Accumulator>;
  failedSpans: KeptSpan[];
  sampledSpans: KeptSpan[];
  /** Slowest first, at most `slowestPerOperation`, by kind and operation. */
  readonly slowSpans: Map<string, KeptSpan[]>;
  readonly shapes: Map<string, ShapeCount>;
  errorLines: KeptLine[];
  sampledLines: KeptLine[];
}

export interface EntityPart {
  readonly observations: Map<string, EntityObservation>;
  readonly windows: Map<number, WindowPart>;
}

/** A sentence about one rejected item. */
export interface RejectSample {
  readonly reason: RejectReason;
  readonly text: string;
}

/** A batch, reduced. Plain data, so that it can come from a worker thread. */
export interface Reduction {
  readonly batchId: string;
  readonly gateway: string;
  readonly source: string;
  readonly sequence: number;
  /** Newest event time of an item that was used, µs; 0 when none was. */
  newestAtUs: number;
  readonly receivedAtMs: number;
  /** Spans, data points and log records that were used. */
  itemCount: number;
  readonly entities: Map<string, EntityPart>;
  /** By partition of the dependency log. */
  readonly halves: HalfDependency[][];
  readonly rejects: Map<RejectReason, number>;
  /** At most one per reason. */
  readonly samples: RejectSample[];
  readonly bounds: Map<BoundName, number>;
}

export function emptyHalves(): HalfDependency[][] {
  return Array.from({ length: partitionCount }, () => []);
}

export function emptyEntityPart(): EntityPart {
  return { observations: new Map(), windows: new Map() };
}

export function emptyWindowPart(): WindowPart {
  return {
    partials: new Map(),
    failedSpans: [],
    sampledSpans: [],
    slowSpans: new Map(),
    shapes: new Map(),
    errorLines: [],
    sampledLines: [],
  };
}

/**
 * Where an accumulator stands among those of its entity and window. `other=true` sorts after every other set of attributes of its metric:
 * the bounds cut from the end, and must find the same cut in a part as in the whole.
 */
export function accumulatorKey(item: Accumulator): string {
  const attributes = item.attributes === otherAttributes ? "\uffff" : item.attributes;
  const key = `${item.kind}\n${item.metric}\n${attributes}`;
  if (item.kind === "duration" || item.kind === "count") return key;
  // A delta histogram adds to one with the same bounds only.
  if (item.kind === "histogram") return `${key}\n${item.stream}\n${item.delta ? item.bounds.join(" ") : "cumulative"}`;
  return `${key}\n${item.stream}`;
}

/** Adds an accumulator to the one with its key. `item` itself is never changed later when `owned` is "no". */
export function addAccumulator(into: Map<string, Accumulator>, item: Accumulator, owned: "yes" | "no"): void {
  const key = accumulatorKey(item);
  const found = into.get(key);
  if (found === undefined) into.set(key, owned === "yes" ? item : copyOf(item));
  else mergeAccumulator(found, item);
}

function copyOf(item: Accumulator): Accumulator {
  if (item.kind === "duration") return { ...item, buckets: new Map(item.buckets) };
  if (item.kind === "histogram") return { ...item, counts: [...item.counts] };
  return { ...item };
}

function mergeAccumulator(into: Accumulator, item: Accumulator): void {
  if (into.kind === "duration" && item.kind === "duration") {
    into.count = saturatingSum(into.count, item.count);
    into.failed = saturatingSum(into.failed, item.failed);
    into.sumNs = saturatingSum(into.sumNs, item.sumNs);
    into.minNs = Math.min(into.minNs, item.minNs);
    into.maxNs = Math.max(into.maxNs, item.maxNs);
    for (const [index, count] of item.buckets) into.buckets.set(index, saturatingSum(into.buckets.get(index) ?? 0, count));
  } else if (into.kind === "count" && item.kind === "count") {
    into.count = saturatingSum(into.count, item.count);
    into.sum += item.sum;
  } else if (into.kind === "gauge" && item.kind === "gauge") mergeGauge(into, item);
  else if (into.kind === "cumulative" && item.kind === "cumulative") {
    const order = firstDifference(
      compareNumbers(into.lastAtUs, item.lastAtUs),
      compareNumbers(into.last, item.last),
      compareNumbers(into.startAtUs, item.startAtUs),
    );
    if (order < 0) Object.assign(into, { startAtUs: item.startAtUs, lastAtUs: item.lastAtUs, last: item.last });
  } else if (into.kind === "histogram" && item.kind === "histogram") mergeHistogram(into, item);
}

function mergeGauge(into: Accumulator & { kind: "gauge" }, item: Accumulator & { kind: "gauge" }): void {
  into.count = saturatingSum(into.count, item.count);
  into.min = Math.min(into.min, item.min);
  into.max = Math.max(into.max, item.max);
  if (firstDifference(compareNumbers(into.lastAtUs, item.lastAtUs), compareNumbers(into.last, item.last)) < 0) {
    into.lastAtUs = item.lastAtUs;
    into.last = item.last;
  }
}

function mergeHistogram(into: Accumulator & { kind: "histogram" }, item: Accumulator & { kind: "histogram" }): void {
  if (into.delta) {
    into.startAtUs = Math.min(into.startAtUs, item.startAtUs);
    into.lastAtUs = Math.max(into.lastAtUs, item.lastAtUs);
    into.count = saturatingSum(into.count, item.count);
    into.sum += item.sum;
    into.counts = into.counts.map((count, index) => saturatingSum(count, item.counts[index] ?? 0));
    return;
  }
  const order = firstDifference(
    compareNumbers(into.lastAtUs, item.lastAtUs),
    compareNumbers(into.count, item.count),
    compareCodeUnits(histogramText(into), histogramText(item)),
  );
  if (order >= 0) return;
  const { startAtUs, lastAtUs, count, sum, bounds } = item;
  Object.assign(into, { startAtUs, lastAtUs, count, sum, bounds, counts: [...item.counts] });
}

function histogramText(item: Accumulator & { kind: "histogram" }): string {
  return canonicalJson([item.startAtUs, String(item.sum), item.bounds, item.counts]);
}

/** Keeps the newest of an observation. */
export function addObservation(into: Map<string, EntityObservation>, item: EntityObservation): void {
  const key = canonicalJson([item.namespace, item.name, item.instance, item.version, item.host, item.zone]);
  const found = into.get(key);
  if (found === undefined || found.atMs < item.atMs) into.set(key, item);
}

/** Adds counted lines of one shape and severity. */
export function addShape(into: Map<string, ShapeCount>, item: ShapeCount): void {
  const key = `${item.shape}\n${item.severity}`;
  const found = into.get(key);
  into.set(key, found === undefined ? item : { ...found, count: saturatingSum(found.count, item.count) });
}

/** Order in which slow spans are kept: longest first, then by ids, then by content, so that no two different spans are equal. */
export function compareSlowness(left: KeptSpan, right: KeptSpan): number {
  return firstDifference(compareNumbers(right.durationNs, left.durationNs), compareSpans(left, right));
}

/** By ids, then by content. */
export function compareSpans(left: KeptSpan, right: KeptSpan): number {
  const byId = firstDifference(compareCodeUnits(left.traceId, right.traceId), compareCodeUnits(left.spanId, right.spanId));
  return byId === 0 && left !== right ? compareCodeUnits(canonicalJson(left), canonicalJson(right)) : byId;
}

/** Puts a span into a list of the slowest, unless it is there or is not slow enough. */
export function addSlowSpan(list: KeptSpan[], span: KeptSpan, countMax: number): void {
  for (let index = 0; index < countMax; index += 1) {
    const other = list[index];
    const order = other === undefined ? -1 : compareSlowness(span, other);
    if (order === 0) return;
    if (order < 0) {
      list.splice(index, 0, span);
      if (list.length > countMax) list.pop();
      return;
    }
  }
}

export function addCount<K>(into: Map<K, number>, key: K, amount: number): void {
  if (amount > 0) into.set(key, (into.get(key) ?? 0) + amount);
}
