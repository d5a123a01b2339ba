/**
 * The ports (design §4; `Presence` by docs/adr/0002). Every adapter of a port passes the same conformance suite in `test/conformance/`.
 * Another port needs an ADR.
 */
import type { Dependency, Entity } from "./entity.ts";
import type { LostGroup } from "./lost-batches.ts";
import type {
  DurationQuery,
  DurationWindow,
  LineQuery,
  SeriesQuery,
  SeriesSamples,
  SeriesSummary,
  SpanQuery,
  SummaryQuery,
  TelemetryAppend,
  TemplateCount,
  TemplateQuery,
  TimeRange,
} from "./telemetry-store.ts";
import type { LogEntry, LogTopic, QueueMessage, QueueReader, QueueTopic, StageName } from "./topic.ts";
import type { KeptLine, KeptSpan } from "./window.ts";

// --- Clock -------------------------------------------------------------------------------------------------------

/** Wall time and timers, injected so that replays and tests decide what time it is. Integer milliseconds since 1970. */
export interface Clock {
  nowMs(): number;
  /** Calls back once after `delayMs`; the answer cancels it. */
  schedule(delayMs: number, callback: () => void): () => void;
}

// --- Queue -------------------------------------------------------------------------------------------------------

export interface QueueHandlerOptions {
  /** Handlers that run at the same time, at least 1. */
  readonly concurrency: number;
}

/** A message that used up its attempts or failed for good. */
export interface DeadLetter {
  /** Unique over all topics and readers. */
  readonly id: string;
  readonly topic: QueueTopic;
  readonly reader: string;
  /** When it was given up. */
  readonly atMs: number;
  readonly attempts: number;
  /** Why: code and message of the last error. */
  readonly code: string;
  readonly message: string;
  /** The message without its binary body. */
  readonly json: unknown;
  readonly bodyBytes: number;
}

/** Any order, at least once. Messages are validated when published; a publish that resolved survives SIGKILL. */
export interface Queue {
  /**
   * Adds the message to the queue of every reader of the topic.
   * Throws REQUEST_INVALID for a message its schema refuses, QUEUE_FULL or waits at the bound (see the topic's row), QUEUE_UNAVAILABLE.
   */
  publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void>;
  /**
   * Hands each message of the reader's queue to `handler` until `close`. A handler that throws a retriable error gets the message again
   * with backoff, at most `attemptsMax` (5) times; otherwise, or after that, the message is a dead letter, counted.
   * A message completes when its handler's promise resolves. The answer stops handing out to this subscriber, waits for its running
   * handlers, and leaves the rest in the queue; after it the queue may be subscribed to again.
   */
  subscribe<T extends QueueTopic>(
    topic: T,
    reader: QueueReader<T>,
    handler: (message: QueueMessage<T>) => Promise<void>,
    options: QueueHandlerOptions,
  ): Promise<() => Promise<void>>;
  /** Messages waiting or in a handler, for one reader. */
  depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number>;
  /** Messages that could not be handled, newest first, at most `lettersMax`. */
  deadLetters(options: { lettersMax: number }): Promise<DeadLetter[]>;
  /** Puts it back into the queue of the reader that could not handle it, with all its attempts. Throws NOT_FOUND. */
  retryDeadLetter(id: string): Promise<void>;
  /** Forgets it for good, counted. Throws NOT_FOUND. */
  dropDeadLetter(id: string): Promise<void>;
  /** Resolves when no message waits and no handler runs, for every topic that this process subscribed to. */
  drain(): Promise<void>;
  /** Stops handing out, waits for running handlers, releases everything. Idempotent. */
  close(): Promise<void>;
}

// --- PartitionLog ------------------------------------------------------------------------------------------------

export interface NewLogEntry<T extends LogTopic = LogTopic> {
  readonly topic: T;
  readonly partition: number;
  /** JSON-serialisable; validated by the topic's schema when `validate` is on (tests, development). */
  readonly value: LogEntry<T>;
}

export interface StoredLogEntry<T extends LogTopic> {
  /** Rises by one per entry of a partition, from 1. */
  readonly offset: number;
  readonly value: LogEntry<T>;
}

export interface Checkpoint {
  /** The last entry whose effect the chunks hold. 0 = none. */
  readonly offset: number;
  readonly chunks: ReadonlyMap<string, Uint8Array>;
}

/** Ownership of one partition of one topic, valid until another process takes it. */
export interface PartitionOwner<T extends LogTopic> {
  readonly topic: T;
  readonly partition: number;
  readonly fence: number;
  /** What the previous owner committed last. */
  readonly checkpoint: Checkpoint;
  /** Entries after `afterOffset`, at most `entriesMax`; waits up to `waitMs` for the first one, then answers an empty list. */
  read(afterOffset: number, options: { entriesMax: number; waitMs: number }): Promise<StoredLogEntry<T>[]>;
  /**
   * Stores changed chunks (null removes one) and the offset in one step, then trims the log up to it.
   * Throws FENCED when somebody else owns the partition by now.
   */
  commit(offset: number, changed: ReadonlyMap<string, Uint8Array | null>): Promise<void>;
  release(): Promise<void>;
}

/** Who takes part in working on the partitions of a topic. A process that dies is out of it within 2 s. */
export interface Membership {
  readonly self: string;
  /** Processes that take part now, the one that joined first in front; `self` is among them while the log can be reached. */
  members(): Promise<readonly string[]>;
  leave(): Promise<void>;
}

/** Ordered, durable entries per partition; see `logTopics`. */
export interface PartitionLog {
  /**
   * Appends all entries and marks the batch ids as reduced, in one step: after a crash either all are there or none.
   * Resolves when that survives SIGKILL. Waits while a partition is more than `lagMax` entries ahead of its reader.
   * Throws BATCH_REDUCED, and appends nothing, when one of the ids is marked already: whoever was slow must not count a batch twice.
   */
  append(entries: readonly NewLogEntry[], options: { reduced: readonly string[] }): Promise<void>;
  /** Which of the batch ids were marked as reduced (kept 24 h, at most 1,000,000). */
  reduced(batchIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Takes a partition; its earlier owner in this process is fenced. Throws PARTITION_HELD while another live process owns it. */
  own<T extends LogTopic>(topic: T, partition: number): Promise<PartitionOwner<T>>;
  /** Takes part in the work on a topic's partitions; who owns which is decided in `contract/partition-group.ts`. */
  join(topic: LogTopic): Promise<Membership>;
  /** Entries appended and not yet committed, over all partitions of a topic. */
  lag(topic: LogTopic): Promise<number>;
  close(): Promise<void>;
}

// --- GraphStore --------------------------------------------------------------------------------------------------

/** What topology learned up to `completeThroughMs` of event time. Merged: earliest first seen, latest last seen, newest attributes. */
export interface GraphDelta {
  /** Partition of the dependency log it came from; watermarks are kept per partition. */
  readonly partition: number;
  readonly completeThroughMs: number;
  readonly entities: readonly Entity[];
  readonly dependencies: readonly Dependency[];
}

export interface GraphView {
  /** Everything observed up to this moment of event time is in the view. */
  readonly completeThroughMs: number;
  /** Sorted by id. */
  readonly entities: readonly Entity[];
  /** Sorted by id; those valid at the moment asked for. */
  readonly dependencies: readonly Dependency[];
}

/** The part of a view around some entities. */
export interface GraphPart extends GraphView {
  /** Entities that can be reached and did not fit. */
  readonly left: number;
}

export interface GraphDiff {
  readonly entitiesAdded: readonly Entity[];
  readonly entitiesRemoved: readonly Entity[];
  readonly dependenciesAdded: readonly Dependency[];
  readonly dependenciesRemoved: readonly Dependency[];
}

/** A closed incident as a precedent: what it looked like and what caused it. */
export interface Precedent {
  readonly incident: string;
  readonly closedMs: number;
  readonly cause: { readonly type: string; readonly id: string; readonly kind: string | null };
  /** Tokens of what was seen, e.g. `latency:up`, `template:<hash>`; sorted, at most 200. */
  readonly signature: readonly string[];
}

export interface GraphStore {
  apply(delta: GraphDelta): Promise<void>;
  /** The world as of a moment: dependencies whose validity covers it, entities seen by then. */
  asOf(atMs: number): Promise<GraphView>;
  diff(fromMs: number, toMs: number): Promise<GraphDiff>;
  /**
   * What each partition began and has not told the end of, sorted by id, partition and begin; for who has to go on with a partition whose
   * checkpoint is lost, since nobody else can tell the ends.
   */
  unended(): Promise<{ partition: number; dependency: Dependency }[]>;
  /**
   * The part of `asOf(atMs)` that can be reached from `ids` along dependencies, whichever way they point: entities by hops, then by id, at
   * most `entitiesMax`, and the dependencies among them. Ids that are not in the view are passed over.
   */
  neighbourhood(options: { atMs: number; ids: readonly string[]; entitiesMax: number }): Promise<GraphPart>;
  /** Ways from one entity to another along calls as of a moment: ids of the entities, shortest first, then by ids; none visits one twice. */
  paths(options: { atMs: number; from: string; to: string; hopsMax: number; pathsMax: number }): Promise<string[][]>;
  remember(precedent: Precedent): Promise<void>;
  /** Precedents by shared signature tokens (Jaccard), best first, ties by incident id. */
  similar(signature: readonly string[], options: { countMax: number }): Promise<{ precedent: Precedent; similarity: number }[]>;
  close(): Promise<void>;
}

// --- TelemetryStore ----------------------------------------------------------------------------------------------

export type {
  DurationWindow,
  LineQuery,
  SeriesQuery,
  SeriesSamples,
  SeriesSummary,
  SpanQuery,
  TelemetryAppend,
  TemplateCount,
  TemplateQuery,
  TimeRange,
};

/** What of one series a query answers: samples in order of time. */
export type StoredSeries = SeriesSamples;

export interface TelemetryStore {
  /** Resolves when the window is committed; concurrent calls share one transaction. */
  append(windows: readonly TelemetryAppend[]): Promise<void>;
  /** Sorted by series id. */
  series(query: SeriesQuery): Promise<StoredSeries[]>;
  /** Every series known, newest state, sorted by series id, at most `seriesMax`. */
  summaries(query: SummaryQuery): Promise<SeriesSummary[]>;
  /** Sorted by entity, metric, attributes, window. */
  durations(query: DurationQuery): Promise<DurationWindow[]>;
  /** Sorted by start, trace id, span id. */
  spans(query: SpanQuery): Promise<KeptSpan[]>;
  /** Counts per window, sorted by entity, template, window. */
  templates(query: TemplateQuery): Promise<TemplateCount[]>;
  /** Sorted by time, entity, body. */
  lines(query: LineQuery): Promise<KeptLine[]>;
  /** Drops whole days that lie before the retention of their signal; answers the files removed. */
  retain(nowMs: number): Promise<string[]>;
  close(): Promise<void>;
}

// --- EventStore --------------------------------------------------------------------------------------------------

export interface StoredEvent {
  /** Rises over all streams, from 1, without order gaps visible to a subscriber. */
  readonly position: number;
  readonly stream: string;
  /** From 1 within the stream. */
  readonly sequence: number;
  /** JSON. */
  readonly data: unknown;
}

export interface EventStore {
  /**
   * Appends to a stream when it still has `expectedSequence` events (0 = must be new), else throws CONFLICT.
   * Answers the sequence of the last event written. Survives SIGKILL when it resolves.
   */
  append(stream: string, events: readonly unknown[], options: { expectedSequence: number }): Promise<number>;
  read(stream: string, options?: { afterSequence?: number; eventsMax?: number }): Promise<StoredEvent[]>;
  /** Names of the streams with this prefix, sorted. */
  streams(prefix: string): Promise<string[]>;
  /** All events after a position in order, then new ones as they come, until the answer is called. */
  subscribe(
    options: { afterPosition: number; streamPrefix: string },
    handler: (event: StoredEvent) => Promise<void>,
  ): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

// --- Presence ----------------------------------------------------------------------------------------------------

/** What a process says of itself. */
export interface ProcessStatus {
  /** Unique per start of a process. */
  readonly id: string;
  readonly roles: readonly StageName[];
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAtMs: number;
  /** `waiting`: something it needs is away, see `reasons`. */
  readonly state: "starting" | "ready" | "waiting" | "stopping";
  /** Sentences, at most 20. */
  readonly reasons: readonly string[];
  /** Partitions that it works on, by topic; empty where it works on none. */
  readonly partitions: Readonly<Record<string, readonly number[]>>;
  /** Acknowledged batches that it found missing within the last hour, at most 100; known to who works on partition 0 of the window log. */
  readonly lostBatches: readonly LostGroup[];
}

/** A status with the moment at which it was announced, by the clock that all processes share. */
export interface SeenProcess extends ProcessStatus {
  readonly atMs: number;
  /** The shared clock when this was read: `readAtMs - atMs` is how long the process has been silent. */
  readonly readAtMs: number;
}

/** Which processes make up this installation, and how they are. A process announces itself every 2 s. */
export interface Presence {
  announce(status: ProcessStatus): Promise<void>;
  /** Everybody who announced within the last hour and did not withdraw, by first role and id. */
  list(): Promise<SeenProcess[]>;
  /** A process that ends in order takes itself off the list. */
  withdraw(id: string): Promise<void>;
  close(): Promise<void>;
}

// --- ProbeSource -------------------------------------------------------------------------------------------------

/** What was read from the kernel at once. */
export interface ProbeBatch {
  /**
   * `records`: of a ring or of an iterator, whole and in order, each behind u32 length, u32 zero and padded to a multiple of 8 bytes.
   * `entries`: of a map, each a key and one value for each processor, one after another.
   */
  readonly kind: "records" | "entries";
  /** Of the ring, the iterator's program or the map. */
  readonly name: string;
  /** Wall time of the reading. */
  readonly atMs: number;
  /** Wall time minus the kernel's monotonic time at the reading; a float64 of this size is exact within 128 ns. */
  readonly clockOffsetNs: number;
  /** Of an entry's key; 0 for records. */
  readonly keyBytes: number;
  /** Of one processor's value; 0 for records. */
  readonly valueBytes: number;
  /** Values of an entry, 1 where the map does not keep one for each processor; 0 for records. */
  readonly cpus: number;
  /** Multiple of 8 bytes, never empty for records. Valid until `next` is called again: the source reuses the memory. */
  readonly bytes: Uint8Array;
}

/** Kernel events, native or recorded: raw bytes in the layout of `bpf/event.h`. */
export interface ProbeSource {
  /** Waits for the next batch; resolves to null when the source has ended or was closed. One call at a time. */
  next(): Promise<ProbeBatch | null>;
  /** Ends it; a call of `next` that waits resolves to null. Idempotent. */
  close(): Promise<void>;
}
