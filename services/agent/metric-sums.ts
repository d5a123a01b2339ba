/** Points of one interval by resource, metric and attributes: added up, or the last one for gauges. */
import { boundedDurations } from "../../native/duration-bounds.ts";
import { bucketIndex } from "../../native/histogram.ts";
import type { Attributes, HistogramPoint, Metric, NumberPoint, ResourceItems } from "./otlp-item.ts";

export interface MetricSumsOptions {
  /** Points of one interval at most. */
  readonly pointsMax: number;
  readonly onCounted: (what: "points-refused") => void;
}

/** Of a resource, as its owner names it. */
export interface MetricOwner {
  readonly key: string;
  readonly resource: Attributes;
}

interface Row {
  readonly owner: MetricOwner;
  readonly name: string;
  readonly unit: string;
  readonly attributes: Attributes;
}

interface LogarithmicRow extends Row {
  readonly counts: number[];
  sumNs: number;
}

const boundsMax = 256;

export class MetricSums {
  readonly #options: MetricSumsOptions;
  readonly #sums = new Map<string, Row & { value: number }>();
  readonly #gauges = new Map<string, Row & { value: number; weight: number }>();
  readonly #histograms = new Map<string, LogarithmicRow>();

  constructor(options: MetricSumsOptions) {
    this.#options = options;
  }

  add(row: Row, value: number): void {
    if (value === 0) return;
    const known = this.#find(this.#sums, row, () => ({ ...row, value: 0 }));
    if (known !== null) known.value += value;
  }

  /** The sum of what is set for one row; several processes of a service make one value. */
  gauge(row: Row, value: number): void {
    const known = this.#find(this.#gauges, row, () => ({ ...row, value: 0, weight: 1 }));
    if (known !== null) known.value += value;
  }

  /** The mean over weights: how long each value held, or of how many things it is the mean. */
  mean(row: Row, sum: number, weight: number): void {
    if (weight <= 0) return;
    const known = this.#find(this.#gauges, row, () => ({ ...row, value: 0, weight: 0 }));
    if (known === null) return;
    known.value += sum;
    known.weight += weight;
  }

  /** Counts by log2 of a duration in nanoseconds. */
  histogram(row: Row, buckets: Float64Array, sumNs: number): void {
    const known = this.#find(this.#histograms, row, () => ({ ...row, counts: [], sumNs: 0 }));
    if (known === null) return;
    buckets.forEach((count, bucket) => {
      known.counts[bucket] = (known.counts[bucket] ?? 0) + count;
    });
    known.sumNs += sumNs;
  }

  metrics(): ResourceItems<Metric>[] {
    const list = new MetricList();
    for (const row of this.#sums.values()) list.addNumber("sum", row, row.value);
    for (const row of this.#gauges.values()) list.addNumber("gauge", row, row.weight > 0 ? row.value / row.weight : 0);
    for (const row of this.#histograms.values()) list.addHistogram(row, logarithmicPoints(row));
    return list.resources();
  }

  #find<R extends Row>(rows: Map<string, R>, row: Row, create: () => R): R | null {
    const key = `${row.owner.key}\n${row.name}\n${Object.values(row.attributes).join("\n")}`;
    const known = rows.get(key);
    if (known !== undefined) return known;
    if (this.#sums.size + this.#gauges.size + this.#histograms.size >= this.#options.pointsMax) {
      this.#options.onCounted("points-refused");
      return null;
    }
    const created = create();
    rows.set(key, created);
    return created;
  }
}

class MetricList {
  readonly #owners = new Map<string, { resource: Attributes; metrics: Map<string, Metric> }>();

  addNumber(kind: "sum" | "gauge", { owner, name, unit, attributes }: Row, value: number): void {
    const metric = this.#metricOf(owner, { kind, name, unit, points: [] });
    if (metric.kind !== "histogram") (metric.points as NumberPoint[]).push({ attributes, value });
  }

  addHistogram({ owner, name, unit }: Row, points: readonly HistogramPoint[]): void {
    const metric = this.#metricOf(owner, { kind: "histogram", name, unit, points: [] });
    if (metric.kind === "histogram") (metric.points as HistogramPoint[]).push(...points);
  }

  resources(): ResourceItems<Metric>[] {
    return [...this.#owners.values()].map(({ resource, metrics }) => ({ resource, items: [...metrics.values()] }));
  }

  #metricOf(owner: MetricOwner, empty: Metric): Metric {
    let entry = this.#owners.get(owner.key);
    if (entry === undefined) {
      entry = { resource: owner.resource, metrics: new Map() };
      this.#owners.set(owner.key, entry);
    }
    const metric = entry.metrics.get(empty.name) ?? empty;
    entry.metrics.set(empty.name, metric);
    return metric;
  }
}

/** Bucket b ends where 2^(b+1) begins, which is a boundary of our own buckets as well. */
function logarithmicPoints({ attributes, counts, sumNs }: LogarithmicRow): HistogramPoint[] {
  const buckets = counts.flatMap((count, bucket): [number, number][] => (count > 0 ? [[lastBucketOf(bucket), count]] : []));
  return boundedDurations(buckets, boundsMax).map((part, at) => ({
    attributes,
    count: part.counts.reduce((sum, count) => sum + count, 0),
    sum: at === 0 ? sumNs / 1e9 : 0,
    min: null,
    max: null,
    ...part,
  }));
}

/** The last of our sixteen buckets between 2^b and 2^(b+1): its upper bound is that of bucket b. */
function lastBucketOf(bucket: number): number {
  return bucket === 0 ? 0 : bucketIndex(2 ** bucket) + 15;
}
