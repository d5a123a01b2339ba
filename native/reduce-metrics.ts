/** Metric points to gauge, cumulative, count and histogram partials. */

import { seriesAttributes } from "./attribute-keys.ts";
import { fixedPoint } from "./exact.ts";
import type { OtlpAttributes, OtlpDistributionPoint, OtlpMetric, OtlpNumberPoint, OtlpTime } from "./otlp-model.ts";
import type { ReduceContext } from "./reduce-context.ts";
import {
  addKernelRequests,
  isKernelScope,
  isKernelTime,
  isRequestDuration,
  kernelAttributes,
  kernelPointUs,
  kernelTimeBuckets,
} from "./reduce-kernel.ts";
import type { WindowPart } from "./reduction.ts";
import { attributesText } from "./resource.ts";
import { boundedText, hash64Hex, singleLine } from "./text.ts";

const metricLengthMax = 256;
const boundsMax = 256;
/** OTLP's flag of a point that says only that there is no value any more. */
const flagNoRecordedValue = 1;

const delta = 1;
const cumulative = 2;

/** Reduces the points of one metric, counting each that is refused. */
export function reduceMetric(context: ReduceContext, metric: OtlpMetric): void {
  const points = metric.numbers.length + metric.distributions.length;
  if (context.entityOr(points) === null) return;
  if (metric.name === "") {
    context.reject("name-missing", () => `a metric of ${context.entityName} has no name`, points);
    return;
  }
  const name = boundedText(singleLine(metric.name), metricLengthMax);
  const what = () => `metric "${name.slice(0, 80)}" of ${context.entityName}`;
  if (metric.type === "none") {
    context.reject("value-missing", () => `${what()} holds no data of a known kind`);
    return;
  }
  const hasTemporality = metric.type === "sum" || metric.type === "histogram" || metric.type === "exponentialHistogram";
  if (hasTemporality && metric.temporality !== delta && metric.temporality !== cumulative) {
    const reason = metric.temporality === 0 ? "temporality-unspecified" : "unknown-enum";
    context.reject(reason, () => `${what()} has the aggregation temporality ${metric.temporality}`, points);
    return;
  }
  const view: MetricView = { metric, name, what, context, kernel: isKernelScope(context.scope) };
  for (const point of metric.numbers) reduceNumber(view, point);
  for (const point of metric.distributions) {
    if (metric.type === "summary") reduceSummary(view, point);
    else reduceDistribution(view, point);
  }
}

interface MetricView {
  readonly context: ReduceContext;
  readonly metric: OtlpMetric;
  readonly name: string;
  readonly what: () => string;
  /** Sent by the agent. */
  readonly kernel: boolean;
}

function attributesOf({ kernel, name }: MetricView, attributes: OtlpAttributes): string {
  return kernel ? kernelAttributes(name, attributes) : seriesAttributes(attributes);
}

function windowOf({ context, kernel }: MetricView, point: { startAt: OtlpTime; at: OtlpTime }): WindowPart {
  return context.windowAt(point.at.us, kernel ? kernelPointUs(point) : point.at.us);
}

/** Checks that hold for points of every kind. */
function pointAccepted({ context, what }: MetricView, point: { at: OtlpTime; flags: number }): boolean {
  if ((point.flags & flagNoRecordedValue) !== 0) return context.reject("no-recorded-value", () => `${what()} has a point without a value`);
  return context.timeAccepted(point.at, what);
}

function reduceNumber(view: MetricView, point: OtlpNumberPoint): void {
  const { context, metric, what } = view;
  if (!pointAccepted(view, point)) return;
  const { value } = point;
  if (value === null) {
    context.reject("value-missing", () => `${what()} has a point without a value`);
    return;
  }
  if (!Number.isFinite(value)) {
    context.reject("value-not-finite", () => `${what()} has the value ${value}`);
    return;
  }
  const sum = fixedPoint(value);
  if (sum === null) {
    context.reject("value-out-of-range", () => `${what()} has the value ${value}`);
    return;
  }
  const window = windowOf(view, point);
  const key = { metric: view.name, attributes: attributesOf(view, point.attributes) };
  if (metric.type === "sum" && metric.temporality === delta) {
    context.add(window, { kind: "count", ...key, count: 1, sum });
    return;
  }
  const stream = streamOf(context, point.attributes);
  const at = { startAtUs: startOf(point), lastAtUs: point.at.us };
  if (metric.type === "sum" && metric.monotonic) context.add(window, { kind: "cumulative", ...key, stream, ...at, last: clean(value) });
  else context.add(window, gauge({ ...key, stream, atUs: point.at.us, value }));
}

function gauge(item: { metric: string; attributes: string; stream: string; atUs: number; value: number }) {
  const { metric, attributes, stream, atUs } = item;
  const value = clean(item.value);
  return { kind: "gauge", metric, attributes, stream, count: 1, min: value, max: value, lastAtUs: atUs, last: value } as const;
}

function reduceDistribution(view: MetricView, point: OtlpDistributionPoint): void {
  const { context, metric, what } = view;
  if (!pointAccepted(view, point)) return;
  const sum = distributionSum(view, point);
  if (sum === null) return;
  const exponential = metric.type === "exponentialHistogram";
  if (!exponential && !bucketsAccepted(point)) {
    context.reject(
      "histogram-malformed",
      () => `${what()} has ${point.counts.length} buckets for ${point.bounds.length} bounds, or they do not add up`,
    );
    return;
  }
  if (view.kernel && metric.type === "histogram" && metric.temporality === delta && isRequestDuration(view.name)) {
    addKernelRequests(context, () => windowOf(view, point), { metric: view.name, point, what });
    return;
  }
  // A histogram with more buckets than a partial holds is still good for its count and sum.
  const isTime = view.kernel && !exponential && isKernelTime(view.name);
  const buckets = isTime ? kernelTimeBuckets(point) : exponential || point.bounds.length > boundsMax ? { bounds: [], counts: [] } : point;
  addHistogram(view, windowOf(view, point), point, {
    sum,
    delta: metric.temporality === delta,
    bounds: buckets.bounds.map(clean),
    counts: buckets.counts,
  });
}

/** Quantiles as gauges, count and sum as a histogram without buckets. */
function reduceSummary(view: MetricView, point: OtlpDistributionPoint): void {
  const { context, what } = view;
  if (!pointAccepted(view, point)) return;
  const sum = distributionSum(view, point);
  if (sum === null) return;
  const window = context.windowAt(point.at.us);
  addHistogram(view, window, point, { sum, delta: false, bounds: [], counts: [] });
  for (const { quantile, value } of point.quantiles) {
    if (!Number.isFinite(value) || fixedPoint(value) === null || !(quantile >= 0 && quantile <= 1)) {
      context.reject("value-not-finite", () => `${what()} has the value ${value} at the quantile ${quantile}`);
      continue;
    }
    const withQuantile = new Map(point.attributes).set("quantile", String(quantile));
    const key = { metric: view.name, attributes: seriesAttributes(withQuantile), stream: streamOf(context, withQuantile) };
    context.add(window, gauge({ ...key, atUs: point.at.us, value }));
  }
}

/** The sum in fixed point, or null after counting why the point is refused. */
function distributionSum({ context, what }: MetricView, point: OtlpDistributionPoint): bigint | null {
  if (!Number.isSafeInteger(point.count) || point.count < 0) {
    context.reject("value-out-of-range", () => `${what()} has the count ${point.count}`);
    return null;
  }
  if (!Number.isFinite(point.sum)) {
    context.reject("value-not-finite", () => `${what()} has the sum ${point.sum}`);
    return null;
  }
  const sum = fixedPoint(point.sum);
  if (sum === null) context.reject("value-out-of-range", () => `${what()} has the sum ${point.sum}`);
  return sum;
}

function bucketsAccepted(point: OtlpDistributionPoint): boolean {
  const { bounds, counts, count } = point;
  if (bounds.length === 0 && counts.length === 0) return true;
  if (counts.length !== bounds.length + 1) return false;
  if (!bounds.every((bound, index) => Number.isFinite(bound) && (index === 0 || bound > (bounds[index - 1] as number)))) return false;
  let total = 0;
  for (const bucket of counts) {
    if (!Number.isSafeInteger(bucket) || bucket < 0) return false;
    total += bucket;
  }
  return total === count;
}

function addHistogram(
  view: MetricView,
  window: WindowPart,
  point: OtlpDistributionPoint,
  values: { sum: bigint; delta: boolean; bounds: number[]; counts: number[] },
): void {
  const { context } = view;
  context.add(window, {
    kind: "histogram",
    metric: view.name,
    attributes: attributesOf(view, point.attributes),
    stream: streamOf(context, point.attributes),
    startAtUs: startOf(point),
    lastAtUs: point.at.us,
    count: point.count,
    ...values,
  });
}

/** Sender and all attributes, also those that are not part of the key: cumulative values may only be compared within a stream. */
function streamOf(context: ReduceContext, attributes: OtlpAttributes): string {
  return hash64Hex(`${context.sender}\u0003${context.scope}\u0003${attributesText(attributes)}`);
}

/** When a cumulative value began, µs; 0 when the sender does not say, or says what cannot be. */
function startOf(point: { startAt: OtlpTime; at: OtlpTime }): number {
  const { us } = point.startAt;
  return us > 0 && us <= point.at.us ? us : 0;
}

/** −0 and 0 are one value, or merging would depend on the order. */
function clean(value: number): number {
  return value === 0 ? 0 : value;
}
