/** One quantity of one entity or dependency, and the values it takes per window (design §3). */
import { z } from "zod";

export const seriesPerMetricMax = 50;
export const attributesLengthMax = 512;

/**
 * What of a metric a series holds. `rate` is per second; `error_ratio` is 0..1; quantiles are in the metric's unit;
 * `value` is a gauge's last value.
 */
export const Statistic = z.enum(["rate", "error_ratio", "mean", "p50", "p95", "p99", "value"]);
export type Statistic = z.infer<typeof Statistic>;

/** Internal: only the entity itself can make it move. External: moves with its callers and callees too (PRISM's distinction). */
export const Scope = z.enum(["internal", "external"]);
export type Scope = z.infer<typeof Scope>;

/**
 * The kind of quantity; floors, idle guards and fault kinds hang on it, never on a metric's literal name elsewhere
 * (`contract/metric-kind.ts` maps names to kinds).
 */
export const MetricKind = z.enum([
  "cpu",
  "memory",
  "disk",
  "network",
  "runtime",
  "saturation",
  "latency",
  "errors",
  "traffic",
  "log",
  "other",
]);
export type MetricKind = z.infer<typeof MetricKind>;

export const SeriesKey = z.object({
  /** Entity id, or dependency id `caller>callee` where the quantity belongs to a dependency. */
  entity: z.string().min(1).max(1_200),
  metric: z.string().min(1).max(256),
  statistic: Statistic,
  /** Canonical `key=value,key=value`, keys sorted; empty for the whole. */
  attributes: z.string().max(attributesLengthMax),
});
export type SeriesKey = z.infer<typeof SeriesKey>;

/** The string form of a key; unique because `|` is replaced by `_` in each part. */
export function seriesId(key: SeriesKey): string {
  return [key.entity, key.metric, key.statistic, key.attributes].map((part) => part.replaceAll("|", "_")).join("|");
}

export const SeriesState = z.enum(["learning", "tracked", "drifting", "silent"]);
export type SeriesState = z.infer<typeof SeriesState>;

/** One value of a series in one window, with the band that was normal then (null while nothing is known yet). */
export const Sample = z.object({
  windowStartMs: z.number().int(),
  value: z.number(),
  lower: z.number().nullable(),
  upper: z.number().nullable(),
  /** −log10 of how improbable the value was; null while learning has not begun to score. */
  score: z.number().nullable(),
});
export type Sample = z.infer<typeof Sample>;

/** Metric names that Headwater itself derives from spans, logs and kernel histograms; everything else keeps the name its sender gave. */
export const derivedMetric = {
  /** Server spans of an entity; attribute `operation`; seconds. */
  serverDuration: "span.server.duration",
  /** Client and producer spans of an entity; attribute `peer` (address key); seconds. */
  clientDuration: "span.client.duration",
  /** Internal spans; attribute `operation`; seconds. */
  internalDuration: "span.internal.duration",
  /** Requests that an entity answered, as the kernel saw them; attribute `operation`; seconds. */
  kernelServerDuration: "kernel.server.duration",
  /** Requests that an entity made, as the kernel saw them; attribute `peer` (address key); seconds. */
  kernelClientDuration: "kernel.client.duration",
  /** Log records; attribute `severity` (ERROR, WARN, INFO, DEBUG). */
  logRecords: "log.records",
} as const;
