/**
 * Which telemetry batches were reduced (design §4, Exactly once): kept 24 h, at most 1,000,000. A mark is born in the log record that holds
 * the batch's entries; before that record's segment is removed its marks move to files of their own here.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readFramedFile } from "../../contract/append-file.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";
import type { Clock } from "../../contract/port.ts";

const version = 1;
/** How long a redelivered batch is still known. */
const markAgeMaxMs = 86_400_000;
const marksMax = 1_000_000;
/** Marks after which a new file begins; a file goes as a whole. */
const marksPerFileMax = 65_536;

interface MarkFile {
  readonly number: number;
  readonly path: string;
  count: number;
  newestAtMs: number;
  newestId: string;
}

interface ReducedMarksOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

export class ReducedMarks {
  #options: ReducedMarksOptions;
  /** In order of marking, so that the oldest are first. */
  #atMs = new Map<string, number>();
  #files: MarkFile[] = [];
  #active: AppendFile | null = null;

  private constructor(options: ReducedMarksOptions) {
    this.#options = options;
  }

  static async open(options: ReducedMarksOptions): Promise<ReducedMarks> {
    const marks = new ReducedMarks(options);
    const names = (await readdir(options.directory)).filter((name) => /^marks-\d{10}\.journal$/.test(name)).sort();
    for (const name of names) await marks.#load(markFile(options.directory, Number(name.slice(6, 16))));
    await marks.#removeOld();
    return marks;
  }

  add(id: string, atMs: number): void {
    this.#atMs.delete(id);
    this.#atMs.set(id, atMs);
    this.#evict();
  }

  has(id: string): boolean {
    const atMs = this.#atMs.get(id);
    return atMs !== undefined && atMs >= this.#options.clock.nowMs() - markAgeMaxMs;
  }

  /** Writes those of the ids that still matter to a file here; when it resolves, the record they came from may go. */
  async carry(ids: readonly string[]): Promise<void> {
    this.#evict();
    await this.#removeOld();
    const marks = ids.flatMap((id) => {
      const atMs = this.#atMs.get(id);
      return atMs === undefined ? [] : ([[id, atMs]] as const);
    });
    if (marks.length === 0) return;
    let file = this.#files.at(-1);
    if (this.#active === null || file === undefined || file.count >= marksPerFileMax) {
      await this.#active?.close();
      file = markFile(this.#options.directory, (file?.number ?? 0) + 1);
      this.#active = await AppendFile.create(file.path, { version });
      this.#files.push(file);
    }
    await this.#active.write(frameRecord(encodeJsonAndBytes(marks, [])));
    note(file, marks);
    this.#options.onCounted("log_reduced_marks_carried", marks.length);
  }

  async close(): Promise<void> {
    await this.#active?.close();
  }

  async #load(file: MarkFile): Promise<void> {
    const { bytes, scan, tornBytes } = await readFramedFile(file.path, { versionMax: version });
    if (tornBytes > 0) this.#options.onCounted("log_torn_bytes", tornBytes);
    for (const record of scan.records) {
      const marks = decodeJsonAndBytes(bytes.subarray(record.start, record.end)).json as [string, number][];
      for (const [id, atMs] of marks) this.add(id, atMs);
      note(file, marks);
    }
    this.#files.push(file);
  }

  #evict(): void {
    const oldestMs = this.#options.clock.nowMs() - markAgeMaxMs;
    let evicted = 0;
    for (const [id, atMs] of this.#atMs) {
      if (atMs >= oldestMs && this.#atMs.size <= marksMax) break;
      if (atMs >= oldestMs) evicted += 1;
      this.#atMs.delete(id);
    }
    if (evicted > 0) this.#options.onCounted("log_reduced_marks_evicted", evicted);
  }

  /** A file goes when its newest mark does not matter any more; the newest file stays, it is being written. */
  async #removeOld(): Promise<void> {
    const oldestMs = this.#options.clock.nowMs() - markAgeMaxMs;
    for (;;) {
      const [first, second] = this.#files;
      if (first === undefined || second === undefined) return;
      if (first.newestAtMs >= oldestMs && this.#atMs.has(first.newestId)) return;
      await rm(first.path, { force: true });
      this.#files.shift();
    }
  }
}

function markFile(directory: string, number: number): MarkFile {
  return { number, path: join(directory, `marks-${String(number).padStart(10, "0")}.journal`), count: 0, newestAtMs: 0, newestId: "" };
}

function note(file: MarkFile, marks: readonly (readonly [string, number])[]): void {
  file.count += marks.length;
  for (const [id, atMs] of marks) {
    if (atMs < file.newestAtMs) continue;
    file.newestAtMs = atMs;
    file.newestId = id;
  }
}
