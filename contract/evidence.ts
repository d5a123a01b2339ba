/**
 * The snapshot that the ranker reads: the same for a live incident, a replayed bundle and a case folder (design §7).
 * Names carry no information: renaming every entity leaves the ranks as they were.
 */
import { z } from "zod";
import { Change } from "./change.ts";
import { MetricKind, Scope, Statistic } from "./series.ts";

const Id = z.string().min(1).max(1_200);
/** Told by the kernel, not by the program itself; absent otherwise. */
const Source = z.literal("kernel").exactOptional();

export const Interval = z.object({ fromMs: z.number().int(), toMs: z.number().int() });
export type Interval = z.infer<typeof Interval>;

export const SnapshotEntity = z.object({
  id: Id,
  type: z.enum(["service", "instance", "host", "datastore", "broker", "external"]),
  /** The entity for which this one only stands in; its evidence counts for that one. */
  alias: Id.nullable(),
  host: z.string().nullable(),
  zone: z.string().nullable(),
  entry: z.boolean(),
});
export type SnapshotEntity = z.infer<typeof SnapshotEntity>;

export const SnapshotDependency = z.object({
  id: Id,
  source: Id,
  target: Id,
  protocol: z.string(),
  /** First seen inside the fault interval or shortly before: a candidate of its own. */
  validFromMs: z.number().int().nullable(),
  validToMs: z.number().int().nullable(),
  confidence: z.number().min(0).max(1),
});
export type SnapshotDependency = z.infer<typeof SnapshotDependency>;

/** Values of one series, in order of time; `atMs` and `values` have equal length. Splitting at the onset is the ranker's work. */
export const SnapshotSeries = z.object({
  /** Evidence id, `series:<series id>`. */
  id: Id,
  /** Entity id or dependency id. */
  entity: Id,
  metric: z.string(),
  statistic: Statistic,
  attributes: z.string(),
  kind: MetricKind,
  scope: Scope,
  unit: z.string(),
  atMs: z.array(z.number().int()),
  values: z.array(z.number()),
  source: Source,
});
export type SnapshotSeries = z.infer<typeof SnapshotSeries>;

/** How one operation of one entity behaved in one interval, from spans. Durations in ns. */
export const SpanStatistics = z.object({
  count: z.number().int().nonnegative(),
  failed: z.number().int().nonnegative(),
  /** Failed while no span below it failed: where an error began. */
  failedAtOrigin: z.number().int().nonnegative(),
  p50Ns: z.number().nonnegative(),
  p95Ns: z.number().nonnegative(),
  /** Duration minus the time covered by child spans; null where children are not known. */
  selfP50Ns: z.number().nonnegative().nullable(),
  selfP95Ns: z.number().nonnegative().nullable(),
});
export type SpanStatistics = z.infer<typeof SpanStatistics>;

export const SnapshotOperation = z.object({
  /** Evidence id, `operation:<entity>|<side>|<operation>|<peer>`. */
  id: Id,
  entity: Id,
  operation: z.string(),
  side: z.enum(["server", "client", "internal"]),
  /** Callee entity id of a client operation, where it is known. */
  callee: Id.nullable(),
  normal: SpanStatistics,
  abnormal: SpanStatistics,
  /** A few span ids of the abnormal interval that show it: `traceId/spanId`. */
  examples: z.array(z.string()).max(5),
  /** The commonest exception of failed spans at origin, else null. */
  exception: z.string().nullable(),
  /** From kernel histograms: they nest in nothing, so `failedAtOrigin` is what the failures of its own calls leave unexplained. */
  source: Source,
});
export type SnapshotOperation = z.infer<typeof SnapshotOperation>;

export const SnapshotTemplate = z.object({
  /** Evidence id, `template:<entity>|<template>`. */
  id: Id,
  entity: Id,
  text: z.string(),
  severity: z.enum(["ERROR", "WARN", "INFO", "DEBUG"]),
  normalCount: z.number().int().nonnegative(),
  abnormalCount: z.number().int().nonnegative(),
  firstSeenMs: z.number().int().nullable(),
  source: Source,
});
export type SnapshotTemplate = z.infer<typeof SnapshotTemplate>;

/** Requests an entity served in both intervals: what makes "per invocation" of counts. Null where unknown. */
export const SnapshotInvocations = z.object({ entity: Id, normal: z.number().nonnegative(), abnormal: z.number().nonnegative() });
export type SnapshotInvocations = z.infer<typeof SnapshotInvocations>;

/** An event that somebody else already extracted (events.csv of §14). */
export const SnapshotEvent = z.object({
  /** Evidence id, `event:<n>`. */
  id: Id,
  entity: Id,
  modality: z.enum(["metric", "log", "trace"]),
  name: z.string(),
  direction: z.string(),
  target: Id.nullable(),
});
export type SnapshotEvent = z.infer<typeof SnapshotEvent>;

/** Something that should be there and is not, and the one command that would bring it. */
export const BlindSpot = z.object({ what: z.string(), cost: z.string(), command: z.string() });
export type BlindSpot = z.infer<typeof BlindSpot>;

export const EvidenceSnapshot = z.object({
  schemaVersion: z.literal(1),
  windowMs: z.number().int().positive(),
  /** Where to learn what is normal, and where the fault is looked for; `normal.toMs` ≤ `fault.fromMs`. */
  normal: Interval,
  fault: Interval,
  /** The symptoms: what burned. Null entity-free cases have an empty list. */
  symptoms: z.array(z.object({ entity: Id, metric: z.string(), atMs: z.number().int() })),
  entities: z.array(SnapshotEntity),
  dependencies: z.array(SnapshotDependency),
  series: z.array(SnapshotSeries),
  operations: z.array(SnapshotOperation),
  templates: z.array(SnapshotTemplate),
  invocations: z.array(SnapshotInvocations),
  events: z.array(SnapshotEvent),
  changes: z.array(Change),
  blindSpots: z.array(BlindSpot),
});
export type EvidenceSnapshot = z.infer<typeof EvidenceSnapshot>;
