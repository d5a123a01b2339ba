/** The embedded PartitionLog: one physical log in the data directory, an index in memory, a checkpoint file per partition. */
import { Buffer } from "node:buffer";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { partitionCount } from "../../contract/canonical.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, Membership, NewLogEntry, PartitionLog, PartitionOwner, StoredLogEntry } from "../../contract/port.ts";
import { type LogEntry, type LogTopic, logTopics } from "../../contract/topic.ts";
import { readCheckpoint, writeCheckpoint } from "./checkpoint-file.ts";
import { type FoundRecord, LogSegments, type RecordToWrite } from "./log-segments.ts";
import { PartitionIndex } from "./partition-index.ts";
import { ReducedMarks } from "./reduced-marks.ts";

interface FilePartitionLogOptions {
  /** Folder of the log; created when missing. Only one process at a time may open it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Size at which a new segment file begins; 16 MiB unless told. */
  readonly segmentBytesMax?: number;
  /** `yes` checks every entry by its topic's schema (tests, development); `no` unless told. */
  readonly validate?: "yes" | "no";
}

/** Appends that share one write. */
const appendsPerFlushMax = 1_024;
/** JSON of entries kept in memory until they are read; what exceeds it is read back from the file. */
const cachedBytesMax = 67_108_864;

/**
 * Opens the log, finding again what was appended and not committed.
 * Counters: `log_append_waited`, `log_torn_bytes`, `log_entries_lost`, `log_entries_reread`, `log_reduced_marks_evicted`,
 * `log_reduced_marks_carried`. Throws DATA_VERSION_UNKNOWN, LOG_UNAVAILABLE.
 */
export async function openFilePartitionLog(options: FilePartitionLogOptions): Promise<PartitionLog> {
  const { directory, onCounted } = options;
  await mkdir(directory, { recursive: true });
  const partitions = new Map<string, PartitionIndex>();
  for (const topic of Object.keys(logTopics) as LogTopic[]) {
    for (let partition = 0; partition < partitionCount; partition += 1) {
      const checkpointPath = join(directory, `checkpoint-${topic}-${String(partition).padStart(2, "0")}`);
      const { fence, offset } = await readCheckpoint(checkpointPath);
      const { lagMax } = logTopics[topic];
      partitions.set(`${topic}/${partition}`, new PartitionIndex({ checkpointPath, fence, committed: offset, lagMax }));
    }
  }
  const marks = await ReducedMarks.open(options);
  const onRecord = (record: FoundRecord) => restore(record, { partitions, marks, onCounted });
  const segments = await LogSegments.open({ ...options, segmentBytesMax: options.segmentBytesMax ?? 16_777_216 }, onRecord);
  const log = new FilePartitionLog(options, { partitions, marks, segments });
  await log.removeCommitted();
  return log;
}

interface Append {
  readonly atMs: number;
  readonly reduced: readonly string[];
  readonly entries: readonly { readonly topic: LogTopic; readonly partition: number; readonly json: Uint8Array }[];
  /** A batch that was reduced before: nothing of the append was written. */
  refusedFor: string | null;
}

class FilePartitionLog implements PartitionLog {
  #options: FilePartitionLogOptions;
  #partitions: ReadonlyMap<string, PartitionIndex>;
  #marks: ReducedMarks;
  #segments: LogSegments;
  #writes: Coalescer<Append>;
  #cachedBytes = 0;
  #removing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | null = null;

  constructor(
    options: FilePartitionLogOptions,
    parts: { partitions: ReadonlyMap<string, PartitionIndex>; marks: ReducedMarks; segments: LogSegments },
  ) {
    this.#options = options;
    this.#partitions = parts.partitions;
    this.#marks = parts.marks;
    this.#segments = parts.segments;
    this.#writes = new Coalescer((appends) => this.#flush(appends), { itemsPerFlushMax: appendsPerFlushMax });
  }

  async append(entries: readonly NewLogEntry[], options: { reduced: readonly string[] }): Promise<void> {
    this.#refuseWhenClosing();
    if (entries.length === 0 && options.reduced.length === 0) return;
    if (this.#options.validate === "yes") for (const entry of entries) validate(entry);
    const encoded = entries.map(({ topic, partition, value }) => ({ topic, partition, json: Buffer.from(JSON.stringify(value), "utf8") }));
    const touched = [...new Set(entries.map((entry) => this.#partition(entry.topic, entry.partition)))];
    await this.#waitForRoom(touched);
    for (const entry of entries) this.#partition(entry.topic, entry.partition).reserve(1);
    const append: Append = { atMs: this.#options.clock.nowMs(), reduced: options.reduced, entries: encoded, refusedFor: null };
    try {
      await this.#writes.add(append);
    } finally {
      for (const entry of entries) this.#partition(entry.topic, entry.partition).unreserve(1);
    }
    if (append.refusedFor !== null) throw new HeadwaterError("BATCH_REDUCED", `the batch ${append.refusedFor} was reduced before`);
  }

  async reduced(batchIds: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set(batchIds.filter((id) => this.#marks.has(id)));
  }

  async own<T extends LogTopic>(topic: T, partition: number): Promise<PartitionOwner<T>> {
    this.#refuseWhenClosing();
    const index = this.#partition(topic, partition);
    return await index.exclusively(async () => {
      // The fence lives in memory until the next commit: an owner of an earlier process is gone with that process.
      index.fence += 1;
      index.resetReader();
      index.announce();
      const { offset, chunks } = await readCheckpoint(index.checkpointPath);
      const fence = index.fence;
      return {
        topic,
        partition,
        fence,
        checkpoint: { offset, chunks },
        read: (afterOffset, options) => this.#read<T>(index, fence, afterOffset, options),
        commit: (committed, changed) => this.#commit(index, fence, { offset: committed, changed }),
        release: async () => {
          if (index.fence === fence) index.fence += 1;
          index.announce();
        },
      };
    });
  }

  /** Only one process may open the log, so it is the only member. */
  async join(): Promise<Membership> {
    this.#refuseWhenClosing();
    const self = `process-${process.pid}`;
    let members: readonly string[] = [self];
    return {
      self,
      members: async () => members,
      leave: async () => {
        members = [];
      },
    };
  }

  async lag(topic: LogTopic): Promise<number> {
    let lag = 0;
    for (let partition = 0; partition < partitionCount; partition += 1) {
      const { last, committed } = this.#partition(topic, partition);
      lag += last - committed;
    }
    return lag;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Removes sealed segments whose entries are all committed, after their marks have been carried over. */
  async removeCommitted(): Promise<void> {
    const removal = this.#removing.then(async () => {
      for (const segment of this.#segments.removable()) {
        await this.#marks.carry(segment.marks);
        await this.#segments.remove(segment);
      }
    });
    this.#removing = removal.catch(() => undefined);
    await removal;
  }

  async #close(): Promise<void> {
    for (const index of this.#partitions.values()) {
      index.announce();
      index.wakeAll();
    }
    await this.#writes.idle();
    for (const index of this.#partitions.values()) await index.exclusively(async () => undefined);
    await this.#removing;
    await this.#segments.close();
    await this.#marks.close();
  }

  async #waitForRoom(touched: readonly PartitionIndex[]): Promise<void> {
    let full = touched.find((index) => !index.hasRoom);
    if (full !== undefined) this.#options.onCounted("log_append_waited", 1);
    while (full !== undefined) {
      await full.nextRoom();
      this.#refuseWhenClosing();
      full = touched.find((index) => !index.hasRoom);
    }
  }

  async #flush(appends: readonly Append[]): Promise<void> {
    const next = new Map<PartitionIndex, number>();
    const records = this.#notReduced(appends).map(({ atMs, reduced, entries }): RecordToWrite => {
      const numbered = entries.map(({ topic, partition, json }) => {
        const index = this.#partition(topic, partition);
        const offset = (next.get(index) ?? index.last) + 1;
        next.set(index, offset);
        return { topic, partition, offset, json };
      });
      return { atMs, reduced, entries: numbered };
    });
    if (records.length === 0) return;
    let places: Awaited<ReturnType<LogSegments["write"]>>;
    try {
      places = await this.#segments.write(records);
    } catch (error) {
      throw new HeadwaterError("LOG_UNAVAILABLE", `the log in ${this.#options.directory} cannot be written: ${String(error)}`, {
        cause: error,
      });
    }
    const json = records.flatMap((record) => record.entries.map((entry) => entry.json));
    for (const [at, place] of places.entries()) {
      const cached = this.#cachedBytes + place.length <= cachedBytesMax ? (json[at] ?? null) : null;
      this.#cachedBytes += cached?.length ?? 0;
      this.#partition(place.topic, place.partition).add(place, cached);
    }
    for (const { reduced, atMs } of records) for (const id of reduced) this.#marks.add(id, atMs);
    for (const index of next.keys()) index.announce();
  }

  /** Those whose batches were neither reduced before nor by an append in front of them; the others are told which batch was. */
  #notReduced(appends: readonly Append[]): Append[] {
    const reducing = new Set<string>();
    return appends.filter((append) => {
      append.refusedFor = append.reduced.find((id) => reducing.has(id) || this.#marks.has(id)) ?? null;
      if (append.refusedFor === null) for (const id of append.reduced) reducing.add(id);
      return append.refusedFor === null;
    });
  }

  async #read<T extends LogTopic>(
    index: PartitionIndex,
    fence: number,
    afterOffset: number,
    options: { entriesMax: number; waitMs: number },
  ): Promise<StoredLogEntry<T>[]> {
    refuseWhenFenced(index, fence);
    this.#refuseWhenClosing();
    this.#cachedBytes -= index.moveReader(afterOffset);
    let found = index.after(afterOffset, options.entriesMax);
    if (found.length === 0 && options.waitMs > 0) {
      await index.nextArrival(this.#options.clock, options.waitMs);
      refuseWhenFenced(index, fence);
      found = index.after(afterOffset, options.entriesMax);
    }
    const read: StoredLogEntry<T>[] = [];
    for (const { place, json } of found) {
      if (this.#closing !== null) return [];
      const bytes = json ?? (await this.#reread(index, fence, place));
      read.push({
        offset: place.offset,
        value: JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8")) as LogEntry<T>,
      });
    }
    return read;
  }

  async #reread(index: PartitionIndex, fence: number, place: Parameters<LogSegments["read"]>[0]): Promise<Uint8Array> {
    this.#options.onCounted("log_entries_reread", 1);
    try {
      return await this.#segments.read(place);
    } catch (error) {
      // A new owner may have committed past this entry meanwhile, and its segment be gone.
      refuseWhenFenced(index, fence);
      throw new HeadwaterError("LOG_UNAVAILABLE", `${place.segment.path} cannot be read: ${String(error)}`, { cause: error });
    }
  }

  async #commit(
    index: PartitionIndex,
    fence: number,
    commit: { offset: number; changed: ReadonlyMap<string, Uint8Array | null> },
  ): Promise<void> {
    await index.exclusively(async () => {
      refuseWhenFenced(index, fence);
      this.#refuseWhenClosing();
      const { offset, changed } = commit;
      invariant(offset >= index.committed && offset <= index.last, `commit of ${offset} is outside ${index.committed}..${index.last}`);
      const chunks = new Map((await readCheckpoint(index.checkpointPath)).chunks);
      for (const [name, bytes] of changed) {
        if (bytes === null) chunks.delete(name);
        else chunks.set(name, bytes);
      }
      await writeCheckpoint(index.checkpointPath, { fence, offset, chunks });
      this.#cachedBytes -= index.trim(offset);
    });
    await this.removeCommitted();
  }

  #partition(topic: string, partition: number): PartitionIndex {
    const index = this.#partitions.get(`${topic}/${partition}`);
    invariant(index !== undefined, `there is no partition ${partition} of the log ${topic}`);
    return index;
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the partition log is closing");
  }
}

function refuseWhenFenced(index: PartitionIndex, fence: number): void {
  if (index.fence === fence) return;
  throw new HeadwaterError("FENCED", `fence ${fence} of ${index.checkpointPath} is stale, ${index.fence} is the newest`);
}

function validate(entry: NewLogEntry): void {
  const schema: z.ZodType = logTopics[entry.topic].schema;
  const result = schema.safeParse(entry.value);
  if (result.success) return;
  const issue = result.error.issues[0];
  throw new HeadwaterError("REQUEST_INVALID", `not an entry of the log ${entry.topic}: "${issue?.path.join(".")}": ${issue?.message}`);
}

function restore(
  record: FoundRecord,
  into: { partitions: ReadonlyMap<string, PartitionIndex>; marks: ReducedMarks; onCounted: (name: string, amount: number) => void },
): void {
  for (const id of record.reduced) into.marks.add(id, record.atMs);
  record.segment.marks.push(...record.reduced);
  for (const place of record.places) {
    const index = into.partitions.get(`${place.topic}/${place.partition}`);
    // A topic that an older version had has no reader any more.
    if (index === undefined || place.offset <= index.committed) continue;
    const missing = index.add(place, null);
    place.segment.uncommitted += 1;
    if (missing > 0) into.onCounted("log_entries_lost", missing);
  }
}
