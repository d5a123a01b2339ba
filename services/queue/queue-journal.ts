/**
 * The memory queue's journal: messages and completions in segment files, so that what was published and not completed is handed out
 * again after SIGKILL. A segment goes when nothing in it, nor in an older one, is incomplete.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readFramedFile } from "../../contract/append-file.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";

const version = 1;
/** More segments than this are compacted when at most a quarter of their bytes is still needed. */
const segmentsMax = 8;
const recordsPerFlushMax = 4_096;

/** A message as it is journalled: JSON without its binary body, which is stored raw beside it. */
export interface JournalMessage {
  readonly id: number;
  readonly topic: string;
  /** Readers that have not completed it. */
  readonly readers: Set<string>;
  readonly json: unknown;
  readonly body: Uint8Array | null;
}

interface Completion {
  readonly id: number;
  readonly reader: string;
}

type JournalRecord =
  | { readonly kind: "message"; readonly message: JournalMessage }
  | { readonly kind: "completion"; readonly completion: Completion };

interface Segment {
  readonly number: number;
  readonly path: string;
  bytes: number;
  incomplete: number;
}

interface Kept {
  readonly message: JournalMessage;
  segment: Segment;
  readonly bytes: number;
}

interface JournalOptions {
  readonly directory: string;
  readonly segmentBytesMax: number;
  readonly onCounted: (name: string, amount: number) => void;
}

export class QueueJournal {
  #options: JournalOptions;
  #segments: Segment[] = [];
  #file: AppendFile;
  #kept = new Map<number, Kept>();
  #keptBytes = 0;
  #writes: Coalescer<JournalRecord>;

  private constructor(options: JournalOptions, file: AppendFile, segments: Segment[]) {
    this.#options = options;
    this.#file = file;
    this.#segments = segments;
    this.#writes = new Coalescer((records) => this.#flush(records), { itemsPerFlushMax: recordsPerFlushMax });
  }

  /** Opens the journal and answers what was left incomplete, oldest first. */
  static async open(options: JournalOptions): Promise<{ journal: QueueJournal; incomplete: JournalMessage[] }> {
    await mkdir(options.directory, { recursive: true });
    const loaded = await loadSegments(options);
    const number = (loaded.segments.at(-1)?.number ?? 0) + 1;
    const active = newSegment(options.directory, number);
    const file = await AppendFile.create(active.path, { version });
    const journal = new QueueJournal(options, file, [...loaded.segments, active]);
    for (const [id, kept] of loaded.kept) {
      kept.segment.incomplete += 1;
      journal.#kept.set(id, kept);
      journal.#keptBytes += kept.bytes;
    }
    await journal.#removeDone();
    const incomplete = [...loaded.kept.values()].map((kept) => kept.message).sort((left, right) => left.id - right.id);
    return { journal, incomplete };
  }

  /** Resolves when the message survives SIGKILL. Rejects with QUEUE_UNAVAILABLE when it cannot be written; then it is not there. */
  async publish(message: JournalMessage): Promise<void> {
    await this.#writes.add({ kind: "message", message });
  }

  /** Records that a reader is done with a message. */
  async complete(id: number, reader: string): Promise<void> {
    await this.#writes.add({ kind: "completion", completion: { id, reader } });
  }

  async close(): Promise<void> {
    await this.#writes.idle();
    await this.#file.close();
  }

  async #flush(records: readonly JournalRecord[]): Promise<void> {
    try {
      if (this.#file.sizeBytes >= this.#options.segmentBytesMax) await this.#rotate();
      const buffers = records.flatMap((record) => encode(record));
      await this.#file.write(buffers);
    } catch (error) {
      throw new HeadwaterError(
        "QUEUE_UNAVAILABLE",
        `the queue's journal in ${this.#options.directory} cannot be written: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
    const active = this.#active();
    active.bytes = this.#file.sizeBytes;
    for (const record of records) {
      if (record.kind === "message") this.#keep(record.message, active);
      else this.#apply(record.completion);
    }
    await this.#removeDone();
  }

  #active(): Segment {
    return this.#segments[this.#segments.length - 1] as Segment;
  }

  #keep(message: JournalMessage, segment: Segment): void {
    const bytes = (message.body?.length ?? 0) + 512;
    this.#kept.set(message.id, { message, segment, bytes });
    this.#keptBytes += bytes;
    segment.incomplete += 1;
  }

  #apply(completion: Completion): void {
    const kept = this.#kept.get(completion.id);
    if (kept === undefined) return;
    kept.message.readers.delete(completion.reader);
    if (kept.message.readers.size > 0) return;
    kept.segment.incomplete -= 1;
    this.#keptBytes -= kept.bytes;
    this.#kept.delete(completion.id);
  }

  async #rotate(): Promise<void> {
    const next = newSegment(this.#options.directory, this.#active().number + 1);
    const file = await AppendFile.create(next.path, { version });
    const before = this.#file;
    this.#file = file;
    this.#segments.push(next);
    await before.close();
    await this.#compactOldest();
  }

  /** One incomplete message would keep every later segment alive; so its record is written again and the oldest segment goes. */
  async #compactOldest(): Promise<void> {
    const oldest = this.#segments[0];
    const totalBytes = this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
    if (oldest === undefined || this.#segments.length <= segmentsMax || totalBytes < 4 * this.#keptBytes) return;
    const moved = [...this.#kept.values()].filter((kept) => kept.segment === oldest);
    await this.#file.write(moved.flatMap((kept) => encode({ kind: "message", message: kept.message })));
    for (const kept of moved) {
      kept.segment = this.#active();
      kept.segment.incomplete += 1;
    }
    oldest.incomplete = 0;
    this.#options.onCounted("queue_journal_carried_messages", moved.length);
  }

  async #removeDone(): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0]?.incomplete === 0) {
      // Oldest first only: a completion may lie in a later segment than its message.
      const done = this.#segments.shift() as Segment;
      await rm(done.path, { force: true });
    }
  }
}

function newSegment(directory: string, number: number): Segment {
  return { number, path: join(directory, `queue-${String(number).padStart(10, "0")}.journal`), bytes: 0, incomplete: 0 };
}

function encode(record: JournalRecord): Uint8Array[] {
  if (record.kind === "completion")
    return frameRecord(encodeJsonAndBytes({ done: record.completion.id, reader: record.completion.reader }, []));
  const { id, topic, readers, json, body } = record.message;
  const head = { id, topic, readers: [...readers], json, body: body !== null };
  return frameRecord(encodeJsonAndBytes(head, body === null || body.length === 0 ? [] : [body]));
}

type Decoded = { id: number; topic: string; readers: string[]; json: unknown; body: boolean } | { done: number; reader: string };

async function loadSegments(options: JournalOptions): Promise<{ segments: Segment[]; kept: Map<number, Kept> }> {
  const segments: Segment[] = [];
  const kept = new Map<number, Kept>();
  const names = (await readdir(options.directory)).filter((name) => /^queue-\d{10}\.journal$/.test(name)).sort();
  for (const name of names) {
    const segment = newSegment(options.directory, Number(name.slice(6, 16)));
    const { bytes, scan, tornBytes } = await readFramedFile(segment.path, { versionMax: version });
    if (tornBytes > 0) options.onCounted("queue_journal_torn_bytes", tornBytes);
    segment.bytes = scan.validBytes;
    for (const record of scan.records) replay(bytes.subarray(record.start, record.end), segment, kept);
    segments.push(segment);
  }
  return { segments, kept };
}

function replay(payload: Uint8Array, segment: Segment, kept: Map<number, Kept>): void {
  const { json, bytes } = decodeJsonAndBytes(payload);
  const decoded = json as Decoded;
  if ("done" in decoded) {
    const readers = kept.get(decoded.done)?.message.readers;
    readers?.delete(decoded.reader);
    if (readers?.size === 0) kept.delete(decoded.done);
    return;
  }
  // The body is copied, or one small message would hold its whole segment in memory.
  const body = decoded.body ? Uint8Array.from(bytes) : null;
  const { id, topic, readers, json: message } = decoded;
  kept.set(id, { message: { id, topic, readers: new Set(readers), json: message, body }, segment, bytes: payload.length });
}
