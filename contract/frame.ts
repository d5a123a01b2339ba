/**
 * The on-disk form of every append-only file of ours: a header, then records of length, CRC-32 and payload.
 * A process that is killed can leave a torn record at the end only; `scanFrames` finds everything before it.
 */
import { Buffer } from "node:buffer";
import * as zlib from "node:zlib";
import { HeadwaterError } from "./error.ts";
import { invariant } from "./invariant.ts";

/** Bytes at the beginning of a file: magic and format version. */
export const frameHeaderBytes = 8;
/** Largest payload of one record; a longer length on disk can only be damage. */
const framePayloadBytesMax = 268_435_456;

const magic = 0x48574652;
const prefixBytes = 8;

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

/** CRC-32 as zip has it, continued from `seed`; in TypeScript because Node has its own only from 20.15 on. */
export function crc32InTypeScript(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (let index = 0; index < bytes.length; index += 1) {
    crc = (crcTable[(crc ^ (bytes[index] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

const crc32: (bytes: Uint8Array, seed?: number) => number = typeof zlib.crc32 === "function" ? zlib.crc32 : crc32InTypeScript;

/** The first bytes of a file whose payloads have the given version. */
export function frameHeader(version: number): Uint8Array {
  const header = Buffer.allocUnsafe(frameHeaderBytes);
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(version, 4);
  return header;
}

/** One record over the parts of its payload, as buffers to be written one after another; the parts are not copied. */
export function frameRecord(parts: readonly Uint8Array[]): Uint8Array[] {
  let length = 0;
  let crc = 0;
  for (const part of parts) {
    length += part.length;
    crc = crc32(part, crc);
  }
  invariant(length > 0 && length <= framePayloadBytesMax, `a record of ${length} bytes cannot be framed`);
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix.writeUInt32LE(length, 0);
  prefix.writeUInt32LE(crc, 4);
  return [prefix, ...parts];
}

/** Where a payload lies in its file. */
interface FrameSpan {
  readonly start: number;
  readonly end: number;
}

export interface FrameScan {
  readonly records: readonly FrameSpan[];
  /** Bytes from the beginning that are whole; what follows is torn and may be cut off. 0 when even the header is torn. */
  readonly validBytes: number;
}

/**
 * Finds the whole records of a file. Never throws for damage: scanning ends at the first record that is torn or fails its checksum.
 * Throws DATA_VERSION_UNKNOWN when the header names a version above `versionMax`.
 */
export function scanFrames(bytes: Uint8Array, options: { file: string; versionMax: number }): FrameScan {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < frameHeaderBytes || view.readUInt32BE(0) !== magic) return { records: [], validBytes: 0 };
  const version = view.readUInt32BE(4);
  if (version > options.versionMax) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `${options.file} has format version ${version}, this Headwater knows up to ${options.versionMax}: start the newer version again, or use another data directory`,
    );
  }
  const records: FrameSpan[] = [];
  let at = frameHeaderBytes;
  while (at + prefixBytes <= view.length) {
    const length = view.readUInt32LE(at);
    const start = at + prefixBytes;
    const end = start + length;
    if (length === 0 || length > framePayloadBytesMax || end > view.length) break;
    if (crc32(view.subarray(start, end)) !== view.readUInt32LE(at + 4)) break;
    records.push({ start, end });
    at = end;
  }
  return { records, validBytes: at };
}

/** A payload's leading JSON document, and the raw bytes after it: `length u32 | JSON | bytes`. */
export function encodeJsonAndBytes(json: unknown, bytes: readonly Uint8Array[]): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(json), "utf8");
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32LE(text.length, 0);
  return [length, text, ...bytes];
}

/** Reads what `encodeJsonAndBytes` wrote; `bytes` is a view, not a copy. */
export function decodeJsonAndBytes(payload: Uint8Array): { json: unknown; bytes: Uint8Array } {
  const view = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const length = view.readUInt32LE(0);
  return { json: JSON.parse(view.toString("utf8", 4, 4 + length)), bytes: view.subarray(4 + length) };
}
