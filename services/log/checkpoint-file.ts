/** The checkpoint of one partition: fence, offset and state chunks in one file that is replaced as a whole. */
import { readFile } from "node:fs/promises";
import { replaceFile } from "../../contract/append-file.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { decodeJsonAndBytes, encodeJsonAndBytes, frameHeader, frameRecord, scanFrames } from "../../contract/frame.ts";

const version = 1;

interface StoredCheckpoint {
  readonly fence: number;
  readonly offset: number;
  readonly chunks: ReadonlyMap<string, Uint8Array>;
}

interface Head {
  readonly fence: number;
  readonly offset: number;
  /** Name and length of each chunk, in the order of their bytes. */
  readonly chunks: readonly (readonly [string, number])[];
}

/** Reads a checkpoint; one that was never written is empty. Throws LOG_UNAVAILABLE for a damaged file, DATA_VERSION_UNKNOWN. */
export async function readCheckpoint(path: string): Promise<StoredCheckpoint> {
  let file: Uint8Array;
  try {
    file = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { fence: 0, offset: 0, chunks: new Map() };
    throw new HeadwaterError("LOG_UNAVAILABLE", `the checkpoint ${path} cannot be read: ${String(error)}`, { cause: error });
  }
  const record = scanFrames(file, { file: path, versionMax: version }).records[0];
  if (record === undefined) {
    throw new HeadwaterError(
      "LOG_UNAVAILABLE",
      `the checkpoint ${path} is damaged: restore it from a backup, or remove it to lose its partition's learned state`,
    );
  }
  const { json, bytes } = decodeJsonAndBytes(file.subarray(record.start, record.end));
  const head = json as Head;
  const chunks = new Map<string, Uint8Array>();
  let at = 0;
  for (const [name, length] of head.chunks) {
    chunks.set(name, bytes.subarray(at, at + length));
    at += length;
  }
  return { fence: head.fence, offset: head.offset, chunks };
}

/** Replaces a checkpoint; after a crash either the old or the new one is there. */
export async function writeCheckpoint(path: string, checkpoint: StoredCheckpoint): Promise<void> {
  const chunks = [...checkpoint.chunks];
  const head: Head = { fence: checkpoint.fence, offset: checkpoint.offset, chunks: chunks.map(([name, bytes]) => [name, bytes.length]) };
  const bytes = chunks.map(([, chunk]) => chunk).filter((chunk) => chunk.length > 0);
  try {
    await replaceFile(path, [frameHeader(version), ...frameRecord(encodeJsonAndBytes(head, bytes))]);
  } catch (error) {
    throw new HeadwaterError("LOG_UNAVAILABLE", `the checkpoint ${path} cannot be written: ${String(error)}`, { cause: error });
  }
}
