/** What detection tells the incident stage (design §3, §5). */
import { z } from "zod";
import { MetricKind, SeriesKey } from "./series.ts";
import { Buckets } from "./window.ts";

/** A stretch in which a series left its band. The id is a hash of series and onset, the same in every update. */
export const Anomaly = z.object({
  id: z.string().min(1).max(64),
  series: SeriesKey,
  kind: MetricKind,
  state: z.enum(["open", "update", "close"]),
  direction: z.enum(["up", "down", "silent"]),
  onsetMs: z.number().int(),
  /** End of the window this message speaks of. */
  atMs: z.number().int(),
  endMs: z.number().int().nullable(),
  /** −log10 of how improbable the worst window was. */
  severity: z.number(),
  value: z.number(),
  lower: z.number().nullable(),
  upper: z.number().nullable(),
});
export type Anomaly = z.infer<typeof Anomaly>;

/** Requests that an entity served in a window, all operations together: the ground of objectives. */
export const RequestWindow = z.object({
  entity: z.string().min(1).max(512),
  windowStartMs: z.number().int(),
  count: z.number().int().nonnegative(),
  failed: z.number().int().nonnegative(),
  /** Durations in ns; see `Buckets`. */
  buckets: Buckets,
});
export type RequestWindow = z.infer<typeof RequestWindow>;

/** One entry of the anomaly log: everything that one detection partition found in one window. */
export const AnomalyEntry = z.object({
  /** All windows that end at or before this moment are closed in this partition. */
  closedThroughMs: z.number().int(),
  anomalies: z.array(Anomaly),
  requests: z.array(RequestWindow),
});
export type AnomalyEntry = z.infer<typeof AnomalyEntry>;
