/** Messages that could not be handled, kept for people to look at: the newest `deadLettersMax`, in two files of half of that each. */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppendFile, readFramedFile } from "../../contract/append-file.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";

const version = 1;
/** Dead letters kept at most; between half of them and all are there once there were so many. */
const deadLettersMax = 1_000;
/** Bytes of one of the two files at which the older one is dropped early. */
const fileBytesMax = 67_108_864;

interface DeadLetter {
  readonly topic: string;
  readonly reader: string;
  readonly atMs: number;
  readonly attempts: number;
  readonly code: string;
  readonly message: string;
  readonly json: unknown;
  readonly body: Uint8Array | null;
}

export class DeadLetters {
  #path: string;
  #file: AppendFile;
  #count: number;

  private constructor(path: string, file: AppendFile, count: number) {
    this.#path = path;
    this.#file = file;
    this.#count = count;
  }

  static async open(directory: string): Promise<DeadLetters> {
    await mkdir(directory, { recursive: true });
    const path = join(directory, "dead-letters.journal");
    const before = await readDeadLetters(directory);
    // What is there is written anew as the older half, so that this process has a file of its own to append to.
    await rm(`${path}.new`, { force: true });
    const older = await AppendFile.create(`${path}.new`, { version });
    for (const letter of before.slice(-deadLettersMax / 2)) await older.write(encode(letter));
    await older.close();
    await rename(`${path}.new`, `${path}.old`);
    const file = await createAfresh(path);
    return new DeadLetters(path, file, 0);
  }

  /** Resolves when the letter survives SIGKILL. One call at a time. */
  async add(letter: DeadLetter): Promise<void> {
    if (this.#count >= deadLettersMax / 2 || this.#file.sizeBytes >= fileBytesMax) {
      await this.#file.close();
      await rename(this.#path, `${this.#path}.old`);
      this.#file = await AppendFile.create(this.#path, { version });
      this.#count = 0;
    }
    await this.#file.write(encode(letter));
    this.#count += 1;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** The dead letters kept in a queue's directory, oldest first. */
export async function readDeadLetters(directory: string): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (const name of ["dead-letters.journal.old", "dead-letters.journal"]) {
    const path = join(directory, name);
    if ((await stat(path).catch(() => null)) === null) continue;
    const { bytes, scan } = await readFramedFile(path, { versionMax: version });
    for (const record of scan.records) {
      const decoded = decodeJsonAndBytes(bytes.subarray(record.start, record.end));
      const head = decoded.json as Omit<DeadLetter, "body"> & { hasBody: boolean };
      const { hasBody, ...letter } = head;
      letters.push({ ...letter, body: hasBody ? Uint8Array.from(decoded.bytes) : null });
    }
  }
  return letters;
}

async function createAfresh(path: string): Promise<AppendFile> {
  const fresh = await AppendFile.create(`${path}.new`, { version });
  await rename(`${path}.new`, path);
  return fresh;
}

function encode(letter: DeadLetter): Uint8Array[] {
  const { body, ...head } = letter;
  return frameRecord(encodeJsonAndBytes({ ...head, hasBody: body !== null }, body === null || body.length === 0 ? [] : [body]));
}
