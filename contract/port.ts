/**
 * The seven ports (design §4). Every adapter of a port passes the same conformance suite in `test/conformance/`.
 * An eighth port needs an ADR.
 */
import type { Dependency, Entity } from "./entity.ts";
import type { Sample, SeriesKey, SeriesState } from "./series.ts";
import type { LogEntry, LogTopic, QueueMessage, QueueReader, QueueTopic } from "./topic.ts";
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
   * A message completes when its handler's promise resolves.
   */
  subscribe<T extends QueueTopic>(
    topic: T,
    reader: QueueReader<T>,
    handler: (message: QueueMessage<T>) => Promise<void>,
    options: QueueHandlerOptions,
  ): Promise<void>;
  /** Messages waiting or in a handler, for one reader. */
  depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number>;
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

/** Ordered, durable entries per partition; see `logTopics`. */
export interface PartitionLog {
  /**
   * Appends all entries and marks the batch ids as reduced, in one step: after a crash either all are there or none.
   * Resolves when that survives SIGKILL. Waits while a partition is more than `lagMax` entries ahead of its reader.
   */
  append(entries: readonly NewLogEntry[], options: { reduced: readonly string[] }): Promise<void>;
  /** Which of the batch ids were marked as reduced (kept 24 h, at most 1,000,000). */
  reduced(batchIds: readonly string[]): Promise<ReadonlySet<string>>;
  own<T extends LogTopic>(topic: T, partition: number): Promise<PartitionOwner<T>>;
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
  remember(precedent: Precedent): Promise<void>;
  /** Precedents by shared signature tokens (Jaccard), best first, ties by incident id. */
  similar(signature: readonly string[], options: { countMax: number }): Promise<{ precedent: Precedent; similarity: number }[]>;
  close(): Promise<void>;
}

// --- TelemetryStore ----------------------------------------------------------------------------------------------

export interface SeriesSamples {
  readonly key: SeriesKey;
  readonly unit: string;
  readonly state: SeriesState;
  /** When a learning series will be tracked, event time; null otherwise. */
  readonly readyAtMs: number | null;
  readonly samples: readonly Sample[];
}

/** What of one series a query answers: samples in order of time. */
export type StoredSeries = SeriesSamples;

/** How often a template was seen in a window of an entity. */
export interface TemplateCount {
  readonly entity: string;
  readonly template: string;
  readonly severity: "ERROR" | "WARN" | "INFO" | "DEBUG";
  readonly text: string;
  readonly windowStartMs: number;
  readonly count: number;
}

/** Duration statistics of one (entity, metric, attributes) in one window, kept whole so that intervals can be merged exactly. */
export interface DurationWindow {
  readonly entity: string;
  readonly metric: string;
  readonly attributes: string;
  readonly windowStartMs: number;
  readonly count: number;
  readonly failed: number;
  readonly sumNs: number;
  /** Sparse `[index, count]`, see `Buckets`. */
  readonly buckets: readonly (readonly [number, number])[];
}

/**
 * Everything that one partition learned of one window. `key` names it (`<partition>/<windowStartMs>/<amendment>`):
 * a second append with a key that is already stored changes nothing, so re-reading a log writes nothing twice.
 */
export interface TelemetryAppend {
  readonly key: string;
  readonly windowStartMs: number;
  readonly series: readonly SeriesSamples[];
  readonly durations: readonly DurationWindow[];
  readonly spans: readonly KeptSpan[];
  readonly templates: readonly TemplateCount[];
  readonly lines: readonly KeptLine[];
}

export interface TimeRange {
  /** Inclusive. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

export interface SeriesQuery extends TimeRange {
  /** Entities or dependencies; empty = all. */
  readonly entities: readonly string[];
  readonly metric?: string;
  readonly seriesMax: number;
}

export interface SpanQuery extends TimeRange {
  readonly entities: readonly string[];
  readonly traceId?: string;
  readonly failedOnly: "yes" | "no";
  readonly spansMax: number;
}

export interface TemplateQuery extends TimeRange {
  readonly entities: readonly string[];
  readonly templatesMax: number;
}

export interface LineQuery extends TemplateQuery {
  readonly template?: string;
  readonly traceId?: string;
}

/** The newest state of a series, without its samples. */
export interface SeriesSummary {
  readonly key: SeriesKey;
  readonly unit: string;
  readonly state: SeriesState;
  readonly readyAtMs: number | null;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
}

export interface TelemetryStore {
  /** Resolves when the window is committed; concurrent calls share one transaction. */
  append(windows: readonly TelemetryAppend[]): Promise<void>;
  /** Sorted by series id. */
  series(query: SeriesQuery): Promise<StoredSeries[]>;
  /** Every series known, newest state, sorted by series id, at most `seriesMax`. */
  summaries(options: { entities: readonly string[]; seriesMax: number }): Promise<SeriesSummary[]>;
  /** Sorted by entity, metric, attributes, window. */
  durations(query: TimeRange & { entities: readonly string[]; rowsMax: number }): Promise<DurationWindow[]>;
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

// --- ProbeSource -------------------------------------------------------------------------------------------------

/**
 * Kernel events, native or recorded. Its adapters come with the agent (issue 5).
 * @public
 */
export interface ProbeSource {
  /** Raw records in the layout of `bpf/event.h`; resolves to null when the source has ended. */
  next(): Promise<Uint8Array | null>;
  close(): Promise<void>;
}
