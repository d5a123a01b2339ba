/** A log-linear histogram of durations that is being added to. */
import { boundedDurations } from "../../native/duration-bounds.ts";
import { bucketIndex, sortedBuckets } from "../../native/histogram.ts";
import type { Attributes, HistogramPoint } from "./otlp-item.ts";

/** As many as a reader of OTLP takes. */
const boundsMax = 256;

export class DurationSum {
  readonly #buckets = new Map<number, number>();
  #count = 0;
  #sumNs = 0;
  #minNs = Number.POSITIVE_INFINITY;
  #maxNs = 0;

  add(durationNs: number): void {
    const ns = Math.max(0, Math.round(durationNs));
    const index = bucketIndex(ns);
    this.#buckets.set(index, (this.#buckets.get(index) ?? 0) + 1);
    this.#count += 1;
    this.#sumNs += ns;
    this.#minNs = Math.min(this.#minNs, ns);
    this.#maxNs = Math.max(this.#maxNs, ns);
  }

  /** In seconds; several points, of which the first holds the sum, where one has not bounds enough. */
  points(attributes: Attributes): HistogramPoint[] {
    const parts = boundedDurations(sortedBuckets(this.#buckets), boundsMax);
    return parts.map(({ bounds, counts }, at) => ({
      attributes,
      count: counts.reduce((sum, count) => sum + count, 0),
      sum: at === 0 ? this.#sumNs / 1e9 : 0,
      min: parts.length === 1 && this.#count > 0 ? this.#minNs / 1e9 : null,
      max: parts.length === 1 && this.#count > 0 ? this.#maxNs / 1e9 : null,
      bounds,
      counts,
    }));
  }
}
