/** What is put into the telemetry store and asked of it (`TelemetryStore` in `port.ts`), as schemas: the HTTP adapter's door checks by them. */
import { z } from "zod";
import { attributesLengthMax, Sample, SeriesKey, SeriesState } from "./series.ts";
import { Buckets, KeptLine, KeptSpan } from "./window.ts";

/** Nobody changes what was handed over. */
type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;

const Count = z.number().int().nonnegative();
const Millis = z.number().int();
/** An entity, or a dependency `caller>callee`. */
const EntityId = z.string().max(1_200);

export const SeriesSamples = z.strictObject({
  key: SeriesKey,
  unit: z.string().max(256),
  state: SeriesState,
  /** When a learning series will be tracked, event time; null otherwise. */
  readyAtMs: Millis.nullable(),
  samples: z.array(Sample),
});
export type SeriesSamples = Frozen<z.infer<typeof SeriesSamples>>;

/** How often a template was seen in a window of an entity. */
export const TemplateCount = z.strictObject({
  entity: EntityId,
  template: z.string().max(512),
  severity: z.enum(["ERROR", "WARN", "INFO", "DEBUG"]),
  text: z.string().max(2_048),
  windowStartMs: Millis,
  count: Count,
});
export type TemplateCount = Frozen<z.infer<typeof TemplateCount>>;

/** Duration statistics of one (entity, metric, attributes) in one window, kept whole so that intervals can be merged exactly. */
export const DurationWindow = z.strictObject({
  entity: EntityId,
  metric: z.string().max(256),
  attributes: z.string().max(attributesLengthMax),
  windowStartMs: Millis,
  count: Count,
  failed: Count,
  sumNs: Count,
  /** Sparse `[index, count]`, see `Buckets`. */
  buckets: Buckets,
});
export type DurationWindow = Frozen<z.infer<typeof DurationWindow>>;

/**
 * Everything that one partition learned of one window. `key` names it (`<partition>/<windowStartMs>/<amendment>`):
 * a second append with a key that is already stored changes nothing, so re-reading a log writes nothing twice.
 */
export const TelemetryAppend = z.strictObject({
  key: z.string().min(1).max(512),
  windowStartMs: Millis,
  series: z.array(SeriesSamples),
  durations: z.array(DurationWindow),
  spans: z.array(KeptSpan),
  templates: z.array(TemplateCount),
  lines: z.array(KeptLine),
});
export type TelemetryAppend = Frozen<z.infer<typeof TelemetryAppend>>;

const timeRange = {
  /** Inclusive. */
  fromMs: z.number(),
  /** Exclusive. */
  toMs: z.number(),
};
const TimeRange = z.strictObject(timeRange);
export type TimeRange = Frozen<z.infer<typeof TimeRange>>;

/** Entities or dependencies; empty = all. */
const entities = z.array(z.string()).max(100_000);

export const SeriesQuery = z.strictObject({ ...timeRange, entities, metric: z.string().exactOptional(), seriesMax: Count });
export type SeriesQuery = Frozen<z.infer<typeof SeriesQuery>>;

export const SummaryQuery = z.strictObject({ entities, seriesMax: Count });
export type SummaryQuery = Frozen<z.infer<typeof SummaryQuery>>;

export const DurationQuery = z.strictObject({ ...timeRange, entities, rowsMax: Count });
export type DurationQuery = Frozen<z.infer<typeof DurationQuery>>;

export const SpanQuery = z.strictObject({
  ...timeRange,
  entities,
  traceId: z.string().exactOptional(),
  failedOnly: z.enum(["yes", "no"]),
  spansMax: Count,
});
export type SpanQuery = Frozen<z.infer<typeof SpanQuery>>;

export const TemplateQuery = z.strictObject({ ...timeRange, entities, templatesMax: Count });
export type TemplateQuery = Frozen<z.infer<typeof TemplateQuery>>;

export const LineQuery = TemplateQuery.extend({ template: z.string().exactOptional(), traceId: z.string().exactOptional() });
export type LineQuery = Frozen<z.infer<typeof LineQuery>>;

/** The newest state of a series, without its samples. */
export const SeriesSummary = z.strictObject({
  key: SeriesKey,
  unit: z.string(),
  state: SeriesState,
  readyAtMs: Millis.nullable(),
  firstAtMs: Millis,
  lastAtMs: Millis,
});
export type SeriesSummary = Frozen<z.infer<typeof SeriesSummary>>;
