/**
 * Batches of a ProbeSource as a file: `headwater agent --record FILE`. The form is that of our append-only files (`contract/frame.ts`):
 * the first payload is the header as JSON, every other one is Brotli of batches one behind the other. A process that is killed loses the
 * last second at most; what is before it can be read.
 */
import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import { encodeJsonAndBytes, frameHeader, frameRecord } from "../../contract/frame.ts";
import { invariant } from "../../contract/invariant.ts";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";

export const probeRecordingVersion = 1;

export const ProbeRecordingHeader = z.object({
  recording: z.literal("probe"),
  /** `HW_EVENT_VERSION` of the records. */
  eventVersion: z.number().int().positive(),
  startedAtMs: z.number(),
  /** Release of the kernel. */
  kernel: z.string().max(200),
});
export type ProbeRecordingHeader = z.infer<typeof ProbeRecordingHeader>;

/** What precedes the bytes of a batch: all of it but the bytes, and how many they are. */
export const RecordedBatch = z.object({
  kind: z.enum(["records", "entries"]),
  name: z.string().min(1).max(200),
  atMs: z.number(),
  clockOffsetNs: z.number(),
  keyBytes: z.number().int().nonnegative(),
  valueBytes: z.number().int().nonnegative(),
  cpus: z.number().int().nonnegative(),
  byteCount: z.number().int().nonnegative(),
});

/** Decompressed bytes of one frame. */
export const frameBytesMax = 67_108_864;
/** A frame is written when so much or such an age has come together. */
const frameBytesWanted = 1_048_576;
const frameAgeMaxMs = 1_000;
/** What was taken and is not in the file yet; a batch beyond it is left out, counted. */
const pendingBytesMax = 33_554_432;

const compress = promisify(brotliCompress);
const compressOptions = { params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 22 } };

/** Writes while batches come. */
export class ProbeRecordWriter {
  readonly #file: string;
  readonly #output: WriteStream;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #pendingBytes = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | null = null;
  #written: Promise<void>;
  #failure: unknown = null;

  /** An existing file is replaced. */
  constructor(file: string, header: Omit<ProbeRecordingHeader, "recording">) {
    mkdirSync(dirname(file), { recursive: true });
    this.#file = file;
    this.#output = createWriteStream(file);
    this.#output.on("error", (error) => {
      this.#failure ??= error;
    });
    const json = Buffer.from(JSON.stringify({ recording: "probe", ...header } satisfies ProbeRecordingHeader));
    this.#written = this.#write([frameHeader(probeRecordingVersion), ...frameRecord([json])]);
  }

  /** Batches left out because the disk or the compression did not keep up. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Copies the batch. */
  add(batch: ProbeBatch): void {
    const { bytes, ...rest } = batch;
    const size = bytes.length;
    invariant(size <= frameBytesMax / 2, `a batch of ${size} bytes cannot be recorded`);
    if (this.#pendingBytes + size > pendingBytesMax) {
      this.#dropped += 1;
      return;
    }
    const parts = encodeJsonAndBytes({ ...rest, byteCount: size }, [Buffer.from(bytes)]);
    const added = parts.reduce((sum, part) => sum + part.length, 0);
    this.#parts.push(...parts);
    this.#partBytes += added;
    this.#pendingBytes += added;
    if (this.#partBytes >= frameBytesWanted) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), frameAgeMaxMs);
  }

  /** Resolves when the file is whole. Throws STORE_UNAVAILABLE when something of it could not be written. */
  async close(): Promise<void> {
    this.#flush();
    await this.#written;
    await new Promise<void>((resolve) => this.#output.end(() => resolve()));
    if (this.#failure !== null) {
      const text = this.#failure instanceof Error ? this.#failure.message : String(this.#failure);
      throw new HeadwaterError("STORE_UNAVAILABLE", `${this.#file} could not be written: ${text}`, { cause: this.#failure });
    }
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    const size = this.#partBytes;
    this.#parts = [];
    this.#partBytes = 0;
    this.#written = this.#written
      .then(() => compress(Buffer.concat(parts), compressOptions))
      .then((compressed) => this.#write(frameRecord([compressed])))
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#pendingBytes -= size;
      });
  }

  #write(buffers: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      this.#output.write(Buffer.concat(buffers), () => resolve());
    });
  }
}

/** The same source, whose batches also go to the writer. Closing it closes the source, not the writer. */
export function recordedWhileRead(source: ProbeSource, writer: ProbeRecordWriter): ProbeSource {
  return {
    async next() {
      const batch = await source.next();
      if (batch !== null) writer.add(batch);
      return batch;
    },
    close: () => source.close(),
  };
}
