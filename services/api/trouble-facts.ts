/** What troubles are told from: everything that was read of the installation, at one moment. */
import type { LostGroup } from "../../contract/lost-batches.ts";
import type { OverviewProcess } from "../../contract/route.ts";
import type { LogTopic, QueueTopic } from "../../contract/topic.ts";
import type { FlowRole } from "./role-words.ts";
import type { Away } from "./watch.ts";

export type StoreName = "queue" | "events" | "graph" | "telemetry";

export interface StoreAway {
  readonly store: StoreName;
  readonly away: Away;
  /** Whether it answered before, since this API was started. */
  readonly wasRead: "yes" | "no";
}

/** A role that no process has, lost ones included. */
export interface MissingRole {
  readonly role: FlowRole;
  /** `stopped`: the last one ended in order; `forgotten`: lost for an hour; `never`: none was seen since this API was started. */
  readonly why: "stopped" | "forgotten" | "never";
  /** When the last one was seen; null for `never`. */
  readonly sinceMs: number | null;
}

export interface UnownedPartitions {
  readonly topic: LogTopic;
  readonly role: FlowRole;
  readonly partitions: readonly number[];
  readonly sinceMs: number;
}

export interface QueueDepth {
  readonly topic: QueueTopic;
  readonly reader: string;
  readonly depth: number;
  readonly depthMax: number;
  readonly atBound: "refuse" | "wait";
}

export interface DeadLetters {
  readonly count: number;
  /** Whether there may be more than were counted. */
  readonly isAll: "yes" | "no";
  /** e.g. `telemetry for ingest: REQUEST_INVALID`, most frequent first. */
  readonly kinds: readonly string[];
  /** Those of which nothing but the shell is left. */
  readonly bodiesLost: number;
}

/** An agent whose series have ended. */
export interface SilentAgent {
  readonly host: string;
  /** The end of the last window in which it told anything. */
  readonly sinceMs: number;
  /** What makes it silent: that others went on, or only that time did, which a flow that stands still looks like as well. */
  readonly by: "others" | "clock";
}

export interface TroubleFacts {
  readonly processes: readonly OverviewProcess[];
  readonly stores: readonly StoreAway[];
  readonly missing: readonly MissingRole[];
  readonly unowned: readonly UnownedPartitions[];
  readonly deadLetters: DeadLetters;
  /** Acknowledged batches found missing within the last hour, oldest first. */
  readonly lostBatches: readonly LostGroup[];
  readonly silentAgents: readonly SilentAgent[];
  readonly depths: readonly QueueDepth[];
  /** Topics of the ordered log whose reader is more than a minute behind. */
  readonly behind: readonly { readonly topic: LogTopic; readonly role: FlowRole }[];
  /** Everything observed up to here is in the graph; null when that is not known. */
  readonly graphThroughMs: number | null;
}
