/** What the agent says, before it is bytes: the part of OTLP that it uses. */

export type AttributeValue = string | number | boolean;
/** Sorted or not; no key twice. */
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** A value over an interval: `startMs` to `endMs` of wall time. */
export interface NumberPoint {
  readonly attributes: Attributes;
  readonly value: number;
}

export interface HistogramPoint {
  readonly attributes: Attributes;
  readonly count: number;
  /** In the metric's unit, as are the bounds. */
  readonly sum: number;
  readonly min: number | null;
  readonly max: number | null;
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}

/** Sums and histograms are deltas of the interval; gauges are values at its end. */
export type Metric =
  | { readonly kind: "sum" | "gauge"; readonly name: string; readonly unit: string; readonly points: readonly NumberPoint[] }
  | { readonly kind: "histogram"; readonly name: string; readonly unit: string; readonly points: readonly HistogramPoint[] };

export interface SpanItem {
  /** 32 and 16 hex digits. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  readonly kind: "internal" | "server" | "client";
  /** Nanoseconds since 1970. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Attributes;
  readonly failed: "yes" | "no";
}

export interface LogItem {
  /** Nanoseconds since 1970. */
  readonly atNs: bigint;
  readonly severity: "DEBUG" | "INFO" | "WARN" | "ERROR";
  readonly event: string;
  readonly body: string;
  readonly attributes: Attributes;
}

/** What one resource says. */
export interface ResourceItems<T> {
  readonly resource: Attributes;
  readonly items: readonly T[];
}

/** An interval of wall time; the end is exclusive. */
export interface Interval {
  readonly startMs: number;
  readonly endMs: number;
}
