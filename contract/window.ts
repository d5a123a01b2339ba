/**
 * What ingest writes to the window log and the dependency log: only what merges exactly (design §4, Determinism).
 * Timestamps are integer microseconds or milliseconds of event time, durations integer nanoseconds, sums integers.
 */
import { z } from "zod";

const Count = z.number().int().nonnegative();
const TraceId = z.string().regex(/^[0-9a-f]{32}$/);
const SpanId = z.string().regex(/^[0-9a-f]{16}$/);

/**
 * Log-linear histogram buckets: `index = 16·e + m` where a value v (in the histogram's integer unit, ns for durations)
 * has 2^e ≤ v < 2^(e+1) and m = floor(16·(v/2^e − 1)); v = 0 and 1 share index 0. Relative width ≤ 1/16.
 * Sparse pairs `[index, count]`, sorted by index.
 */
export const Buckets = z.array(z.tuple([z.number().int().min(0).max(1_023), Count])).max(1_024);
export type Buckets = z.infer<typeof Buckets>;

const PartialKey = z.object({
  entity: z.string().min(1).max(512),
  metric: z.string().min(1).max(256),
  /** Canonical `key=value,…`; `other=true` where the bound on series folded it. */
  attributes: z.string().max(512),
  windowStartMs: z.number().int(),
});

/** Durations of spans that ended in the window, or of requests as a kernel histogram has them (minimum and maximum by its buckets then). */
export const DurationPartial = PartialKey.extend({
  kind: z.literal("duration"),
  count: Count,
  failed: Count,
  sumNs: Count,
  minNs: Count,
  maxNs: Count,
  buckets: Buckets,
});

/** How often something happened in the window (log lines, delta sums). `sum` is fixed point, value × 2^20, in decimal digits. */
export const CountPartial = PartialKey.extend({ kind: z.literal("count"), count: Count, sum: z.string().regex(/^-?\d{1,40}$/) });

/** A gauge: the last value by (time, value), and the extremes. Streams (instances, folded attributes) are merged by detection. */
export const GaugePartial = PartialKey.extend({
  kind: z.literal("gauge"),
  stream: z.string().max(64),
  count: Count,
  min: z.number(),
  max: z.number(),
  lastAtUs: z.number().int(),
  last: z.number(),
});

/** A cumulative monotonic sum: the last point of the window per stream; detection turns differences into rates, with resets. */
export const CumulativePartial = PartialKey.extend({
  kind: z.literal("cumulative"),
  stream: z.string().max(64),
  startAtUs: z.number().int(),
  lastAtUs: z.number().int(),
  last: z.number(),
});

/** An explicit-bounds histogram's last cumulative point (or, with `delta`, one to be added as it is) per stream. */
export const HistogramPartial = PartialKey.extend({
  kind: z.literal("histogram"),
  stream: z.string().max(64),
  delta: z.boolean(),
  startAtUs: z.number().int(),
  lastAtUs: z.number().int(),
  count: Count,
  /** Fixed point, value × 2^20, in decimal digits. */
  sum: z.string().regex(/^-?\d{1,40}$/),
  bounds: z.array(z.number()).max(256),
  counts: z.array(Count).max(257),
});

export const Partial = z.discriminatedUnion("kind", [DurationPartial, CountPartial, GaugePartial, CumulativePartial, HistogramPartial]);
export type Partial = z.infer<typeof Partial>;
export type DurationPartial = z.infer<typeof DurationPartial>;
export type CountPartial = z.infer<typeof CountPartial>;
export type GaugePartial = z.infer<typeof GaugePartial>;
export type CumulativePartial = z.infer<typeof CumulativePartial>;
export type HistogramPartial = z.infer<typeof HistogramPartial>;

export const SpanKind = z.enum(["server", "client", "producer", "consumer", "internal"]);
export type SpanKind = z.infer<typeof SpanKind>;

/** A span kept whole: the k slowest per operation and window, every failed one, and healthy ones by trace-id hash. */
export const KeptSpan = z.object({
  traceId: TraceId,
  spanId: SpanId,
  parentSpanId: SpanId.nullable(),
  entity: z.string().max(512),
  operation: z.string().max(256),
  kind: SpanKind,
  /** Address key of the other side, for client and producer spans. */
  peer: z.string().max(512).nullable(),
  startAtUs: z.number().int(),
  durationNs: Count,
  failed: z.boolean(),
  statusMessage: z.string().max(512),
  /** Type and message of a recorded exception, else null. */
  exception: z.string().max(512).nullable(),
  windowStartMs: z.number().int(),
  keptBecause: z.enum(["slow", "failed", "sampled"]),
  /** Seen by the kernel, not told by the program; absent otherwise. */
  source: z.literal("kernel").exactOptional(),
});
export type KeptSpan = z.infer<typeof KeptSpan>;

/** How often a line shape (masked tokens) was seen in a window of an entity. */
export const ShapeCount = z.object({
  entity: z.string().max(512),
  shape: z.string().regex(/^[0-9a-f]{16}$/),
  severity: z.enum(["ERROR", "WARN", "INFO", "DEBUG"]),
  /** The masked line. */
  text: z.string().max(512),
  windowStartMs: z.number().int(),
  count: Count,
});
export type ShapeCount = z.infer<typeof ShapeCount>;

/** A log line kept whole: every error line within the bound, a sample of the others by hash. */
export const KeptLine = z.object({
  entity: z.string().max(512),
  atUs: z.number().int(),
  severity: z.enum(["ERROR", "WARN", "INFO", "DEBUG"]),
  body: z.string().max(2_048),
  shape: z.string().regex(/^[0-9a-f]{16}$/),
  traceId: TraceId.nullable(),
  spanId: SpanId.nullable(),
  windowStartMs: z.number().int(),
  /** The batch that brought a kernel event; absent for other lines. Never part of a snapshot: how items fell into batches is chance. */
  batch: z.string().max(200).exactOptional(),
});
export type KeptLine = z.infer<typeof KeptLine>;

/** What a resource said of an entity: identity fixed at observation time. */
export const EntityObservation = z.object({
  entity: z.string().min(1).max(512),
  namespace: z.string().max(512).nullable(),
  name: z.string().min(1).max(512),
  instance: z.string().max(512).nullable(),
  version: z.string().max(512).nullable(),
  host: z.string().max(512).nullable(),
  zone: z.string().max(512).nullable(),
  atMs: z.number().int(),
  /** A resource that names a host and no service; absent for everything else. */
  type: z.literal("host").exactOptional(),
});
export type EntityObservation = z.infer<typeof EntityObservation>;

/**
 * How far a source has come, in event time: `atUs` is the newest event time of its batch `sequence`, 0 for a batch in which nothing could be
 * used; `receivedAtMs` is when the gateway had it. Readers move a source's watermark over contiguous sequences only.
 * `gateway` is in partition 0 of the window log alone, whose reader keeps account of what is missing (`lost-batches.ts`).
 */
export const SourceProgress = z.object({
  source: z.string().max(64),
  sequence: z.number().int().nonnegative(),
  atUs: z.number().int(),
  receivedAtMs: z.number().int(),
  gateway: z.string().max(64).optional(),
});
export type SourceProgress = z.infer<typeof SourceProgress>;

/** One entry of the window log. Every flush writes `progress` to all partitions, the rest only to the partition of the entity. */
export const WindowEntry = z.object({
  progress: z.array(SourceProgress),
  partials: z.array(Partial),
  spans: z.array(KeptSpan),
  shapes: z.array(ShapeCount),
  lines: z.array(KeptLine),
});
export type WindowEntry = z.infer<typeof WindowEntry>;

/**
 * One side of a call. Client and producer sides carry their own span id, server and consumer sides their parent's;
 * the two with the same (traceId, spanId) are one call. `spanId` null: a server side without a parent, so an entry.
 */
export const HalfDependency = z.object({
  traceId: TraceId,
  spanId: SpanId.nullable(),
  side: z.enum(["client", "server"]),
  entity: z.string().min(1).max(512),
  /** Client side: `host:port`, or `system@host:port` for datastores and brokers, as seen by the caller. */
  peer: z.string().max(512).nullable(),
  protocol: z.string().max(64),
  atMs: z.number().int(),
  /** Absent when a span of the program itself told. */
  learnedFrom: z.literal("kernel").exactOptional(),
});
export type HalfDependency = z.infer<typeof HalfDependency>;

/** One entry of the dependency log, partitioned by trace id (observations by entity). */
export const DependencyEntry = z.object({
  progress: z.array(SourceProgress),
  halves: z.array(HalfDependency),
  observations: z.array(EntityObservation),
});
export type DependencyEntry = z.infer<typeof DependencyEntry>;
