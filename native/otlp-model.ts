/** What of OTLP the reducer uses, the same whether it came as protobuf or as JSON. Nothing in here has been checked yet. */

/** Nanoseconds since 1970 as whole microseconds and 0 to 999 nanoseconds. 0 and 0 = not set. */
export interface OtlpTime {
  readonly us: number;
  readonly ns: number;
}

/** Attribute values in their text form; the last of two equal keys counts. */
export type OtlpAttributes = Map<string, string>;

export interface OtlpSpan {
  traceId: string;
  spanId: string;
  /** Empty for a root. */
  parentSpanId: string;
  name: string;
  /** 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer; −1 a name that is unknown. */
  kind: number;
  startAt: OtlpTime;
  endAt: OtlpTime;
  attributes: OtlpAttributes;
  /** Attributes of the last event named `exception`; null without one. */
  exception: OtlpAttributes | null;
  /** At most `linksMax`. */
  links: { traceId: string; spanId: string }[];
  /** 0 unset, 1 ok, 2 error. */
  statusCode: number;
  statusMessage: string;
}

export interface OtlpNumberPoint {
  attributes: OtlpAttributes;
  startAt: OtlpTime;
  at: OtlpTime;
  /** Null when the point holds no value. */
  value: number | null;
  flags: number;
}

/** A point of a histogram, exponential histogram or summary. */
export interface OtlpDistributionPoint {
  attributes: OtlpAttributes;
  startAt: OtlpTime;
  at: OtlpTime;
  count: number;
  sum: number;
  bounds: number[];
  counts: number[];
  quantiles: { quantile: number; value: number }[];
  flags: number;
}

export interface OtlpMetric {
  name: string;
  type: "none" | "gauge" | "sum" | "histogram" | "exponentialHistogram" | "summary";
  /** 0 unspecified, 1 delta, 2 cumulative. */
  temporality: number;
  monotonic: boolean;
  numbers: OtlpNumberPoint[];
  distributions: OtlpDistributionPoint[];
}

export interface OtlpLogRecord {
  at: OtlpTime;
  observedAt: OtlpTime;
  severityNumber: number;
  severityText: string;
  body: string;
  attributes: OtlpAttributes;
  traceId: string;
  spanId: string;
}

/** Receives a body item by item: `resource`, then `scope` and its items, and so on. */
export interface OtlpVisitor {
  resource(attributes: OtlpAttributes): void;
  scope(name: string): void;
  span(span: OtlpSpan): void;
  metric(metric: OtlpMetric): void;
  log(record: OtlpLogRecord): void;
  /** A body that cannot be read further, or something in it that has not the shape of an item; `where` is its place. */
  malformed(reason: "body-malformed" | "item-malformed", where: string): void;
}

/** Links of one span that are looked at; the rest is ignored. */
export const linksMax = 8;
/** Lists and maps inside an attribute value may nest this deep. */
export const valueDepthMax = 32;
/** Quantiles of one summary point that are used. */
export const quantilesMax = 16;

export const noTime: OtlpTime = { us: 0, ns: 0 };

export function emptySpan(): OtlpSpan {
  return {
    traceId: "",
    spanId: "",
    parentSpanId: "",
    name: "",
    kind: 0,
    startAt: noTime,
    endAt: noTime,
    attributes: new Map(),
    exception: null,
    links: [],
    statusCode: 0,
    statusMessage: "",
  };
}

export function emptyDistributionPoint(): OtlpDistributionPoint {
  return { attributes: new Map(), startAt: noTime, at: noTime, count: 0, sum: 0, bounds: [], counts: [], quantiles: [], flags: 0 };
}

export function emptyLogRecord(): OtlpLogRecord {
  return { at: noTime, observedAt: noTime, severityNumber: 0, severityText: "", body: "", attributes: new Map(), traceId: "", spanId: "" };
}
