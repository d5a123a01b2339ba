/**
 * A recording: received OTLP and CloudEvents bodies with their receipt offsets (design §14), Brotli of records one after another.
 * A record is one line of JSON and, after the header's, the body's bytes as they came:
 * `{ "offsetMs", "path", "contentType", "bytes" }\n<bytes>\n`. Raw bytes keep a minute of a small shop below 1 MB.
 */
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { brotliDecompressSync, constants, createBrotliCompress } from "node:zlib";
import { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import { kernelScope } from "../../contract/kernel-telemetry.ts";
import type { RecordedBody } from "../gateway/gateway-message.ts";
import type { TelemetryKind } from "./lab-words.ts";

const Header = z.object({
  recording: z.literal(1),
  startedAtMs: z.number().int(),
  windowMs: z.number().int().positive(),
  timeScale: z.number().positive(),
});
type RecordingHeader = z.infer<typeof Header>;

const Line = z.object({
  offsetMs: z.number().int().nonnegative(),
  path: z.string().startsWith("/"),
  contentType: z.string().max(200),
  bytes: z.number().int().nonnegative(),
});

/** A recording is read into memory whole; an hour of a shop of twelve services is about 400 MB. */
const decompressedBytesMax = 1_073_741_824;
const newline = 10;

/** Writes a recording while bodies arrive; `close` resolves when the file is whole. */
export class RecordingWriter {
  readonly #header: RecordingHeader;
  readonly #compress = createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 24 } });
  readonly #finished: Promise<void>;

  constructor(file: string, header: RecordingHeader) {
    mkdirSync(dirname(file), { recursive: true });
    this.#header = header;
    const output = createWriteStream(file);
    this.#finished = new Promise((resolve, reject) => {
      output.on("finish", resolve);
      output.on("error", reject);
    });
    this.#compress.pipe(output);
    this.#compress.write(`${JSON.stringify(header)}\n`);
  }

  add(body: RecordedBody): void {
    const offsetMs = Math.max(0, body.receivedAtMs - this.#header.startedAtMs);
    this.#compress.write(`${JSON.stringify({ offsetMs, path: body.path, contentType: body.contentType, bytes: body.body.length })}\n`);
    this.#compress.write(body.body);
    this.#compress.write("\n");
  }

  async close(): Promise<void> {
    this.#compress.end();
    await this.#finished;
  }
}

export interface Recording {
  readonly header: RecordingHeader;
  /** In the order in which they were received. */
  readonly bodies: readonly RecordedBody[];
}

/** Reads a whole recording. Throws RECORDING_INVALID naming the file and the record. */
export function readRecording(file: string): Recording {
  const bodies: RecordedBody[] = [];
  try {
    const bytes = brotliDecompressSync(readFileSync(file), { maxOutputLength: decompressedBytesMax });
    let { text, next } = lineAt(bytes, 0);
    const header = Header.parse(JSON.parse(text));
    while (next < bytes.length) {
      ({ text, next } = lineAt(bytes, next));
      const line = Line.parse(JSON.parse(text));
      const end = next + line.bytes;
      if (bytes[end] !== newline) throw new Error(`its body of ${line.bytes} bytes is cut short`);
      bodies.push({
        receivedAtMs: header.startedAtMs + line.offsetMs,
        path: line.path,
        contentType: line.contentType,
        body: new Uint8Array(bytes.subarray(next, end)),
      });
      next = end + 1;
    }
    return { header, bodies };
  } catch (error) {
    throw new HeadwaterError(
      "RECORDING_INVALID",
      `${file}, record ${bodies.length}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** The agent's scope as OTLP's binary form has it: field 1, its length, its name. Nothing but a scope of that name has these bytes in a row. */
const kernelMark = Buffer.concat([Buffer.from([0x0a, kernelScope.length]), Buffer.from(kernelScope)]);

/** The recording with the telemetry of one kind only; changes belong to every kind. */
export function bodiesOf(recording: Recording, use: TelemetryKind): Recording {
  if (use === "both") return recording;
  const bodies = recording.bodies.filter(({ path, body }) => {
    const isKernel = Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(kernelMark);
    return path === "/v1/changes" || isKernel === (use === "kernel");
  });
  return { header: recording.header, bodies };
}

function lineAt(bytes: Buffer, from: number): { text: string; next: number } {
  const end = bytes.indexOf(newline, from);
  if (end < 0) throw new Error("its line has no end");
  return { text: bytes.toString("utf8", from, end), next: end + 1 };
}
