/** The memory queue's dead letters: the newest `deadLettersMax` at most, in two files; what is in memory of each is only its place. */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readFramedFile } from "../../contract/append-file.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";
import { deadLettersMax } from "./retry.ts";

const version = 2;
/** Bytes of one of the two files at which the older one is dropped early. */
const fileBytesMax = 67_108_864;
/** Length and checksum before each record, see `contract/frame.ts`. */
const recordPrefixBytes = 8;

interface NewLetter {
  readonly topic: string;
  readonly reader: string;
  readonly atMs: number;
  readonly attempts: number;
  readonly code: string;
  readonly message: string;
  readonly json: unknown;
  readonly body: Uint8Array | null;
}

/** A message that could not be handled, whole. */
export interface StoredLetter extends NewLetter {
  readonly id: string;
}

interface Place {
  readonly name: string;
  readonly file: AppendFile;
  readonly start: number;
  readonly length: number;
}

export class DeadLetters {
  #path: string;
  #onCounted: (name: string, amount: number) => void;
  #older: AppendFile;
  #newer: AppendFile;
  #newerCount = 0;
  /** Oldest first. */
  #places = new Map<string, Place>();
  #nextNumber = 1;
  #writes: Promise<void> = Promise.resolve();

  private constructor(path: string, files: { older: AppendFile; newer: AppendFile }, onCounted: (name: string, amount: number) => void) {
    this.#path = path;
    this.#older = files.older;
    this.#newer = files.newer;
    this.#onCounted = onCounted;
  }

  /** Writes what is there anew, so that this process has files of its own. Counter: `queue_dead_letters_trimmed`. */
  static async open(directory: string, onCounted: (name: string, amount: number) => void): Promise<DeadLetters> {
    await mkdir(directory, { recursive: true });
    const path = join(directory, "dead-letters.journal");
    const before = (await readLetters(path)).slice(-deadLettersMax);
    await rm(`${path}.new`, { force: true });
    await rm(`${path}.old.new`, { force: true });
    const older = await AppendFile.create(`${path}.old.new`, { version });
    const newer = await AppendFile.create(`${path}.new`, { version });
    const letters = new DeadLetters(path, { older, newer }, onCounted);
    const cut = Math.max(0, before.length - deadLettersMax / 2);
    for (const letter of before.slice(0, cut)) await letters.#write(older, letter);
    for (const letter of before.slice(cut)) await letters.#write(newer, letter);
    letters.#newerCount = before.length - cut;
    // The newer one first: a crash in between leaves letters twice, under the same id, and loses none.
    await rename(`${path}.new`, path);
    await rename(`${path}.old.new`, `${path}.old`);
    return letters;
  }

  /** Resolves when the letter survives SIGKILL. */
  add(letter: NewLetter): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#newerCount >= deadLettersMax / 2 || this.#newer.sizeBytes >= fileBytesMax) await this.#rotate();
      const id = `${letter.topic}.${letter.reader}.${this.#nextNumber}`;
      await this.#write(this.#newer, { ...letter, id });
      this.#newerCount += 1;
    });
  }

  /** Newest first. */
  async list(lettersMax: number): Promise<StoredLetter[]> {
    return await this.#inTurn(async () => {
      const newest = [...this.#places.values()].reverse().slice(0, lettersMax);
      const letters: StoredLetter[] = [];
      for (const place of newest) letters.push(await readPlace(place));
      return letters;
    });
  }

  /** How many are held of one reader's queue, by its name. */
  countOf(name: string): number {
    let count = 0;
    for (const place of this.#places.values()) if (place.name === name) count += 1;
    return count;
  }

  /**
   * Removes a letter for good after `before` was done with it, and answers whether there was one. Nobody else takes it meanwhile;
   * a crash after `before` leaves it.
   */
  remove(id: string, before: (letter: StoredLetter) => Promise<void>): Promise<boolean> {
    return this.#inTurn(async () => {
      const place = this.#places.get(id);
      if (place === undefined) return false;
      await before(await readPlace(place));
      await this.#newer.write(frameRecord(encodeJsonAndBytes({ gone: id }, [])));
      this.#places.delete(id);
      return true;
    });
  }

  async close(): Promise<void> {
    await this.#writes;
    await this.#older.close();
    await this.#newer.close();
  }

  async #rotate(): Promise<void> {
    const next = await AppendFile.create(`${this.#path}.new`, { version });
    await this.#older.close();
    await rename(this.#path, `${this.#path}.old`);
    await rename(`${this.#path}.new`, this.#path);
    let trimmed = 0;
    for (const [id, place] of this.#places) {
      if (place.file !== this.#older) continue;
      this.#places.delete(id);
      trimmed += 1;
    }
    if (trimmed > 0) this.#onCounted("queue_dead_letters_trimmed", trimmed);
    this.#older = this.#newer;
    this.#newer = next;
    this.#newerCount = 0;
  }

  async #write(file: AppendFile, letter: StoredLetter): Promise<void> {
    const buffers = encode(letter);
    const start = file.sizeBytes + recordPrefixBytes;
    await file.write(buffers);
    const { topic, reader } = letter;
    this.#places.set(letter.id, { name: `${topic}.${reader}`, file, start, length: file.sizeBytes - start });
    this.#nextNumber = Math.max(this.#nextNumber, numberOf(letter.id) + 1);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#writes.then(work);
    this.#writes = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

function numberOf(id: string): number {
  return Number(id.slice(id.lastIndexOf(".") + 1));
}

async function readPlace(place: Place): Promise<StoredLetter> {
  return decode(await place.file.read(place.start, place.length)) as StoredLetter;
}

/** Oldest first, without those that were removed. */
async function readLetters(path: string): Promise<StoredLetter[]> {
  const letters = new Map<string, StoredLetter>();
  let unnamed = 0;
  for (const name of [`${path}.old`, path]) {
    if ((await stat(name).catch(() => null)) === null) continue;
    const { bytes, scan } = await readFramedFile(name, { versionMax: version });
    for (const record of scan.records) {
      const decoded = decode(bytes.subarray(record.start, record.end));
      if ("gone" in decoded) letters.delete(decoded.gone);
      else {
        unnamed += 1;
        // Letters of the first version had no id.
        const id = decoded.id ?? `${decoded.topic}.${decoded.reader}.${unnamed}`;
        letters.set(id, { ...decoded, id });
      }
    }
  }
  return [...letters.values()];
}

function encode(letter: StoredLetter): Uint8Array[] {
  const { body, ...head } = letter;
  return frameRecord(encodeJsonAndBytes({ ...head, hasBody: body !== null }, body === null || body.length === 0 ? [] : [body]));
}

function decode(payload: Uint8Array): (NewLetter & { readonly id?: string }) | { readonly gone: string } {
  const { json, bytes } = decodeJsonAndBytes(payload);
  if ("gone" in (json as object)) return json as { gone: string };
  const { hasBody, ...letter } = json as NewLetter & { hasBody: boolean };
  return { ...letter, body: hasBody ? Uint8Array.from(bytes) : null };
}
