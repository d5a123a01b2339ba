/**
 * The memory graph on disk: a snapshot, and journals of what came after it. Merging is idempotent, so a snapshot may hold some of what the
 * journals hold as well.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readFramedFile, replaceFile } from "../../contract/append-file.ts";
import { frameHeader, frameRecord } from "../../contract/frame.ts";

const version = 1;

interface GraphFilesOptions {
  readonly directory: string;
  readonly onCounted: (name: string, amount: number) => void;
}

export class GraphFiles {
  #directory: string;
  #file: AppendFile;
  #number: number;

  private constructor(directory: string, file: AppendFile, number: number) {
    this.#directory = directory;
    this.#file = file;
    this.#number = number;
  }

  /** Reads snapshot and journals, calling `onRecord` for each record, and begins a new journal. */
  static async open(options: GraphFilesOptions, onRecord: (record: unknown) => void): Promise<GraphFiles> {
    const { directory, onCounted } = options;
    await mkdir(directory, { recursive: true });
    const names = (await readdir(directory)).filter((name) => /^(snapshot|graph-\d{10}\.journal)$/.test(name));
    let number = 0;
    // The snapshot comes first: it is the ground on which the journals are merged.
    const journals = names.filter((name) => name !== "snapshot").sort();
    for (const name of names.length > journals.length ? ["snapshot", ...journals] : journals) {
      const { bytes, scan, tornBytes } = await readFramedFile(join(directory, name), { versionMax: version });
      if (tornBytes > 0) onCounted("graph_journal_torn_bytes", tornBytes);
      for (const { start, end } of scan.records)
        onRecord(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8")));
      if (name !== "snapshot") number = Math.max(number, Number(name.slice(6, 16)));
    }
    const file = await AppendFile.create(journalPath(directory, number + 1), { version });
    return new GraphFiles(directory, file, number + 1);
  }

  get journalBytes(): number {
    return this.#file.sizeBytes;
  }

  /** Resolves when the records survive SIGKILL. One call at a time. */
  async write(records: readonly unknown[]): Promise<void> {
    await this.#file.write(records.flatMap(encode));
  }

  /** Begins a new journal; what is in memory by now may then be written as the snapshot. */
  async rotate(): Promise<void> {
    const before = this.#file;
    this.#file = await AppendFile.create(journalPath(this.#directory, this.#number + 1), { version });
    this.#number += 1;
    await before.close();
  }

  /** Replaces the snapshot and removes the journals before `upTo`, all of which it holds. */
  async replaceSnapshot(records: Iterable<unknown>, upTo: number): Promise<void> {
    const buffers: Uint8Array[] = [frameHeader(version)];
    for (const record of records) buffers.push(...encode(record));
    await replaceFile(join(this.#directory, "snapshot"), buffers);
    const names = (await readdir(this.#directory)).filter((name) => /^graph-\d{10}\.journal$/.test(name));
    for (const name of names) if (Number(name.slice(6, 16)) < upTo) await rm(join(this.#directory, name), { force: true });
  }

  get journalNumber(): number {
    return this.#number;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function journalPath(directory: string, number: number): string {
  return join(directory, `graph-${String(number).padStart(10, "0")}.journal`);
}

function encode(record: unknown): Uint8Array[] {
  return frameRecord([Buffer.from(JSON.stringify(record), "utf8")]);
}
