/** A recorded kernel as a ProbeSource: what `record-writer.ts` wrote, batch for batch, as fast as they are asked for. */
import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import { HeadwaterError } from "../../contract/error.ts";
import { scanFrames } from "../../contract/frame.ts";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";
import { frameBytesMax, ProbeRecordingHeader, probeRecordingVersion, RecordedBatch } from "./record-writer.ts";

/** Only the frame that is being read is decompressed; the file is in memory whole. */
export class RecordedSource implements ProbeSource {
  readonly header: ProbeRecordingHeader;
  /** Bytes at the end that a killed recorder left unfinished. */
  readonly tornBytes: number;
  readonly #file: string;
  readonly #bytes: Uint8Array;
  readonly #frames: readonly { readonly start: number; readonly end: number }[];
  #frame = 1;
  #open: Buffer = Buffer.alloc(0);
  #at = 0;
  #isClosed = false;

  /** Throws RECORDING_INVALID when the file is none, DATA_VERSION_UNKNOWN when it is a newer one. */
  constructor(file: string) {
    this.#file = file;
    try {
      this.#bytes = readFileSync(file);
    } catch (error) {
      throw this.#invalid("cannot be read", error);
    }
    const { records, validBytes } = scanFrames(this.#bytes, { file, versionMax: probeRecordingVersion });
    this.#frames = records;
    this.tornBytes = this.#bytes.length - validBytes;
    const first = records[0];
    if (first === undefined) throw this.#invalid("is no recording of kernel events", null);
    try {
      this.header = ProbeRecordingHeader.parse(JSON.parse(Buffer.from(this.#bytes.subarray(first.start, first.end)).toString("utf8")));
    } catch (error) {
      throw this.#invalid("is no recording of kernel events", error);
    }
  }

  /** Throws RECORDING_INVALID naming the frame that is not what it should be. */
  async next(): Promise<ProbeBatch | null> {
    while (!this.#isClosed && this.#at >= this.#open.length) {
      const frame = this.#frames[this.#frame];
      if (frame === undefined) return null;
      this.#frame += 1;
      this.#at = 0;
      try {
        this.#open = brotliDecompressSync(this.#bytes.subarray(frame.start, frame.end), { maxOutputLength: frameBytesMax });
      } catch (error) {
        throw this.#invalid(`frame ${this.#frame - 1} cannot be decompressed`, error);
      }
    }
    return this.#isClosed ? null : this.#batch();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#open = Buffer.alloc(0);
  }

  #batch(): ProbeBatch {
    try {
      const jsonEnd = this.#at + 4 + this.#open.readUInt32LE(this.#at);
      const { byteCount, ...rest } = RecordedBatch.parse(JSON.parse(this.#open.toString("utf8", this.#at + 4, jsonEnd)));
      if (jsonEnd + byteCount > this.#open.length) throw new Error(`its bytes end ${jsonEnd + byteCount - this.#open.length} too early`);
      this.#at = jsonEnd + byteCount;
      // A copy begins where numbers of 8 bytes may, as those of the kernel do.
      return { ...rest, bytes: new Uint8Array(this.#open.subarray(jsonEnd, this.#at)) };
    } catch (error) {
      throw this.#invalid(`frame ${this.#frame - 1}: a batch is damaged`, error);
    }
  }

  #invalid(what: string, cause: unknown): HeadwaterError {
    const detail = cause instanceof Error ? `: ${cause.message}` : "";
    return new HeadwaterError("RECORDING_INVALID", `${this.#file} ${what}${detail}`, { cause });
  }
}
