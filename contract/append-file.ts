/** A framed file that grows at its end (see `frame.ts`), and the safe way to replace a small one. */
import { type FileHandle, open, readFile, rename, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { type FrameScan, frameHeader, frameHeaderBytes, scanFrames } from "./frame.ts";

/** Vectors that one writev call takes; Linux refuses more than 1,024. */
const vectorsMax = 1_024;

/**
 * A new framed file, written by one writer. What `write` resolved for survives SIGKILL of the process, because the kernel holds it;
 * up to what the kernel had not yet written may be lost at power failure (design §4).
 */
export class AppendFile {
  readonly path: string;
  #handle: FileHandle;
  #sizeBytes: number;
  #broken = false;

  private constructor(path: string, handle: FileHandle, sizeBytes: number) {
    this.path = path;
    this.#handle = handle;
    this.#sizeBytes = sizeBytes;
  }

  /** Creates the file; fails when there is one. */
  static async create(path: string, options: { version: number }): Promise<AppendFile> {
    const handle = await open(path, "wx+", 0o600);
    await handle.write(frameHeader(options.version));
    return new AppendFile(path, handle, frameHeaderBytes);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Writes buffers (whole records) at the end; one call at a time. When it rejects nothing of it stays in the file,
   * so that what is written later is still found by a scan.
   */
  async write(buffers: readonly Uint8Array[]): Promise<void> {
    if (this.#broken) throw new Error(`${this.path} could not be cut back after a failed write`);
    let at = this.#sizeBytes;
    try {
      for (let from = 0; from < buffers.length; from += vectorsMax) {
        at = await writeFully(this.#handle, buffers.slice(from, from + vectorsMax), at);
      }
      this.#sizeBytes = at;
    } catch (error) {
      await this.#handle.truncate(this.#sizeBytes).catch(() => {
        this.#broken = true;
      });
      throw error;
    }
  }

  /** Reads `length` bytes at `start`. */
  async read(start: number, length: number): Promise<Uint8Array> {
    return await readExactly(this.#handle, start, length);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** writev may write less than it was given; goes on until everything is written and answers the position after it. */
async function writeFully(handle: FileHandle, buffers: readonly Uint8Array[], start: number): Promise<number> {
  let at = start;
  let rest = buffers;
  while (rest.length > 0) {
    let { bytesWritten } = await handle.writev(rest, at);
    at += bytesWritten;
    const next: Uint8Array[] = [];
    for (const buffer of rest) {
      const taken = Math.min(bytesWritten, buffer.length);
      bytesWritten -= taken;
      if (taken < buffer.length) next.push(buffer.subarray(taken));
    }
    rest = next;
  }
  return at;
}

/** Reads exactly `length` bytes at `start`; rejects when the file is shorter. */
export async function readExactly(handle: FileHandle, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, start + done);
    if (bytesRead === 0) throw new Error(`the file ends at ${start + done}, ${length - done} bytes are missing`);
    done += bytesRead;
  }
  return bytes;
}

/**
 * Reads a framed file whole and cuts a torn tail off the disk, answering how many bytes were cut.
 * A file that does not even begin like one of ours is set aside as `<path>.damaged` for people to look at.
 */
export async function readFramedFile(
  path: string,
  options: { versionMax: number },
): Promise<{ bytes: Uint8Array; scan: FrameScan; tornBytes: number }> {
  const bytes = await readFile(path);
  const scan = scanFrames(bytes, { file: path, versionMax: options.versionMax });
  const tornBytes = bytes.length - scan.validBytes;
  if (tornBytes > frameHeaderBytes && scan.validBytes === 0) await rename(path, `${path}.damaged`);
  else if (tornBytes > 0) await truncate(path, scan.validBytes);
  return { bytes, scan, tornBytes };
}

/** Replaces a file so that after a crash either the old or the new content is there: temporary file, fsync, rename, fsync of the folder. */
export async function replaceFile(path: string, buffers: readonly Uint8Array[]): Promise<void> {
  const temporary = `${path}.tmp`;
  const handle = await open(temporary, "w", 0o600);
  try {
    let at = 0;
    for (let from = 0; from < buffers.length; from += vectorsMax) {
      at = await writeFully(handle, buffers.slice(from, from + vectorsMax), at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
