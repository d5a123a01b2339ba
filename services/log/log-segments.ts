/**
 * The one physical log of the file-backed PartitionLog: segment files of records, each holding all entries of an append with the ids of the
 * batches they reduce, so that after SIGKILL either all of it is there or none.
 */
import { type FileHandle, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readExactly, readFramedFile } from "../../contract/append-file.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";

const version = 1;

export interface Segment {
  readonly number: number;
  readonly path: string;
  /** Entries in it that their partition has not committed. */
  uncommitted: number;
  /** Ids of the batches marked as reduced in it. */
  marks: string[];
}

/** Where an entry's JSON lies. */
export interface EntryPlace {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly segment: Segment;
  readonly start: number;
  readonly length: number;
}

export interface RecordToWrite {
  readonly atMs: number;
  readonly reduced: readonly string[];
  readonly entries: readonly { readonly topic: string; readonly partition: number; readonly offset: number; readonly json: Uint8Array }[];
}

interface RecordHead {
  readonly at: number;
  readonly reduced: readonly string[];
  /** Topic, partition, offset and length of JSON of each entry, in the order of their bytes. */
  readonly entries: readonly (readonly [string, number, number, number])[];
}

interface LogSegmentsOptions {
  readonly directory: string;
  readonly segmentBytesMax: number;
  readonly onCounted: (name: string, amount: number) => void;
}

/** What a scan of the segments at start finds, in order. */
export interface FoundRecord {
  readonly atMs: number;
  readonly reduced: readonly string[];
  readonly places: readonly EntryPlace[];
  readonly segment: Segment;
}

export class LogSegments {
  #options: LogSegmentsOptions;
  #segments: Segment[];
  #file: AppendFile;
  #active: Segment;
  #readers = new Map<Segment, Promise<FileHandle>>();

  private constructor(options: LogSegmentsOptions, segments: Segment[], file: AppendFile, active: Segment) {
    this.#options = options;
    this.#segments = segments;
    this.#file = file;
    this.#active = active;
  }

  /** Reads the segments that are there, calling `onRecord` for each whole record, and begins a new segment. */
  static async open(options: LogSegmentsOptions, onRecord: (record: FoundRecord) => void): Promise<LogSegments> {
    const segments: Segment[] = [];
    const names = (await readdir(options.directory)).filter((name) => /^log-\d{10}\.journal$/.test(name)).sort();
    for (const name of names) {
      const segment = newSegment(options.directory, Number(name.slice(4, 14)));
      const { bytes, scan, tornBytes } = await readFramedFile(segment.path, { versionMax: version });
      if (tornBytes > 0) options.onCounted("log_torn_bytes", tornBytes);
      for (const record of scan.records) onRecord(found(bytes.subarray(record.start, record.end), record.start, segment));
      segments.push(segment);
    }
    const active = newSegment(options.directory, (segments.at(-1)?.number ?? 0) + 1);
    const file = await AppendFile.create(active.path, { version });
    return new LogSegments(options, [...segments, active], file, active);
  }

  /** Writes records at the end, all or none as far as a scan can see; answers where their entries lie. One call at a time. */
  async write(records: readonly RecordToWrite[]): Promise<EntryPlace[]> {
    if (this.#file.sizeBytes >= this.#options.segmentBytesMax) await this.#rotate();
    const buffers: Uint8Array[] = [];
    const places: EntryPlace[] = [];
    const segment = this.#active;
    let at = this.#file.sizeBytes;
    for (const { atMs, reduced, entries } of records) {
      const head: RecordHead = {
        at: atMs,
        reduced,
        entries: entries.map((entry) => [entry.topic, entry.partition, entry.offset, entry.json.length]),
      };
      const record = frameRecord(
        encodeJsonAndBytes(
          head,
          entries.map((entry) => entry.json),
        ),
      );
      buffers.push(...record);
      // The entries are the last buffers of a record; what comes before them is its frame and its head.
      for (const part of record.slice(0, record.length - entries.length)) at += part.length;
      for (const { topic, partition, offset, json } of entries) {
        places.push({ topic, partition, offset, segment, start: at, length: json.length });
        at += json.length;
      }
    }
    await this.#file.write(buffers);
    for (const { reduced } of records) segment.marks.push(...reduced);
    segment.uncommitted += places.length;
    return places;
  }

  async read(place: EntryPlace): Promise<Uint8Array> {
    if (place.segment === this.#active) return await this.#file.read(place.start, place.length);
    const opened = this.#readers.get(place.segment) ?? open(place.segment.path, "r");
    this.#readers.set(place.segment, opened);
    return await readExactly(await opened, place.start, place.length);
  }

  /** Sealed segments whose entries are all committed. */
  removable(): Segment[] {
    return this.#segments.filter((segment) => segment !== this.#active && segment.uncommitted === 0);
  }

  async remove(segment: Segment): Promise<void> {
    this.#segments = this.#segments.filter((other) => other !== segment);
    const opened = this.#readers.get(segment);
    this.#readers.delete(segment);
    if (opened !== undefined) await (await opened).close();
    await rm(segment.path, { force: true });
  }

  async close(): Promise<void> {
    for (const opened of this.#readers.values()) await (await opened).close();
    this.#readers.clear();
    await this.#file.close();
  }

  async #rotate(): Promise<void> {
    const next = newSegment(this.#options.directory, this.#active.number + 1);
    const file = await AppendFile.create(next.path, { version });
    await this.#file.close();
    this.#file = file;
    this.#active = next;
    this.#segments.push(next);
  }
}

function newSegment(directory: string, number: number): Segment {
  return { number, path: join(directory, `log-${String(number).padStart(10, "0")}.journal`), uncommitted: 0, marks: [] };
}

function found(payload: Uint8Array, payloadStart: number, segment: Segment): FoundRecord {
  const { json, bytes } = decodeJsonAndBytes(payload);
  const head = json as RecordHead;
  let start = payloadStart + (payload.length - bytes.length);
  const places = head.entries.map(([topic, partition, offset, length]) => {
    const place: EntryPlace = { topic, partition, offset, segment, start, length };
    start += length;
    return place;
  });
  return { atMs: head.at, reduced: head.reduced, places, segment };
}
