/**
 * The data flow as a table: topic → schema, who reads it, queue or log, partition key, bound, and what happens there (design §4).
 */
import { z } from "zod";
import { Alert } from "./alert.ts";
import { AnomalyEntry } from "./anomaly.ts";
import { Change } from "./change.ts";
import { TelemetryBatch } from "./telemetry.ts";
import { VerdictMessage, VerdictRequest } from "./verdict.ts";
import { DependencyEntry, WindowEntry } from "./window.ts";

export const StageName = z.enum(["agent", "gateway", "ingest", "detection", "topology", "incident", "ranking", "notify", "api", "store"]);
export type StageName = z.infer<typeof StageName>;

interface TopicRow {
  readonly schema: z.ZodType;
  readonly readers: readonly StageName[];
  /** Messages that one reader's queue holds at most. */
  readonly depthMax: number;
  /** `refuse`: publish fails with QUEUE_FULL; `wait`: publish resolves when there is room. */
  readonly atBound: "refuse" | "wait";
}

/** Any order, at least once, one queue per reader. */
export const queueTopics = {
  telemetry: { schema: TelemetryBatch, readers: ["ingest"], depthMax: 2_000, atBound: "refuse" },
  change: { schema: Change, readers: ["incident"], depthMax: 1_000, atBound: "refuse" },
  alert: { schema: Alert, readers: ["incident"], depthMax: 10_000, atBound: "refuse" },
  "verdict-request": { schema: VerdictRequest, readers: ["ranking"], depthMax: 1_000, atBound: "wait" },
  verdict: { schema: VerdictMessage, readers: ["incident"], depthMax: 1_000, atBound: "wait" },
} as const satisfies Record<string, TopicRow>;

export type QueueTopic = keyof typeof queueTopics;
export type QueueMessage<T extends QueueTopic> = z.infer<(typeof queueTopics)[T]["schema"]>;
export type QueueReader<T extends QueueTopic> = (typeof queueTopics)[T]["readers"][number];

/** In order, one log per partition, each with one owner. */
export const logTopics = {
  window: { schema: WindowEntry, reader: "detection", partitionKey: "entity", lagMax: 10_000, atBound: "wait" },
  dependency: {
    schema: DependencyEntry,
    reader: "topology",
    partitionKey: "trace id (observations: entity)",
    lagMax: 10_000,
    atBound: "wait",
  },
  anomaly: { schema: AnomalyEntry, reader: "incident", partitionKey: "as the window log", lagMax: 10_000, atBound: "wait" },
} as const;

export type LogTopic = keyof typeof logTopics;
export type LogEntry<T extends LogTopic> = z.infer<(typeof logTopics)[T]["schema"]>;
