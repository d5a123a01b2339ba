/** The part of Redis' protocol (RESP2) that the shop's cache needs, for both sides. */

/** Bytes of a value at most; a longer one is a malformed message. */
const bulkBytesMax = 1_048_576;
/** Parts of one command at most. */
const partsMax = 64;

const typeMarks = "+:-$*";

/** What came over the wire: text, nothing (null bulk), or an error of the other side. */
export type RespValue = string | null | { readonly error: string } | readonly RespValue[];

/** A command as an array of bulk strings. */
export function encodeCommand(parts: readonly string[]): string {
  return `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("")}`;
}

/** An answer: text, or nothing. */
export function encodeBulk(value: string | null): string {
  return value === null ? "$-1\r\n" : `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
}

/** Cuts a stream of bytes into values; a malformed stream answers `malformed` and the connection has to be closed. */
export class RespReader {
  #rest: Buffer = Buffer.alloc(0);

  /** All values complete after these bytes, in order. */
  push(chunk: Buffer): RespValue[] | "malformed" {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const values: RespValue[] = [];
    let at = 0;
    for (;;) {
      const read = readValue(this.#rest, at);
      if (read === "malformed") return "malformed";
      if (read === "incomplete") break;
      values.push(read.value);
      at = read.end;
    }
    this.#rest = this.#rest.subarray(at);
    return this.#rest.length > bulkBytesMax * 2 ? "malformed" : values;
  }
}

type Read = { readonly value: RespValue; readonly end: number } | "incomplete" | "malformed";

function readValue(buffer: Buffer, at: number): Read {
  if (at >= buffer.length) return "incomplete";
  if (!typeMarks.includes(String.fromCharCode(buffer[at] ?? 0))) return "malformed";
  const lineEnd = buffer.indexOf("\r\n", at);
  if (lineEnd < 0) return buffer.length - at > 1_024 ? "malformed" : "incomplete";
  const text = buffer.toString("utf8", at + 1, lineEnd);
  const afterLine = lineEnd + 2;
  switch (String.fromCharCode(buffer[at] ?? 0)) {
    case "+":
    case ":":
      return { value: text, end: afterLine };
    case "-":
      return { value: { error: text }, end: afterLine };
    case "$":
      return readBulk(buffer, afterLine, Number(text));
    case "*":
      return readParts(buffer, afterLine, Number(text));
    default:
      return "malformed";
  }
}

function readBulk(buffer: Buffer, at: number, length: number): Read {
  if (length === -1) return { value: null, end: at };
  if (!Number.isInteger(length) || length < 0 || length > bulkBytesMax) return "malformed";
  if (buffer.length < at + length + 2) return "incomplete";
  return { value: buffer.toString("utf8", at, at + length), end: at + length + 2 };
}

function readParts(buffer: Buffer, at: number, count: number): Read {
  if (!Number.isInteger(count) || count < 0 || count > partsMax) return "malformed";
  const parts: RespValue[] = [];
  let end = at;
  for (let index = 0; index < count; index += 1) {
    if (end >= buffer.length) return "incomplete";
    // A part that is itself a list has no place here, and would let a sender nest without bound.
    if (buffer[end] === 0x2a) return "malformed";
    const part = readValue(buffer, end);
    if (typeof part === "string") return part;
    parts.push(part.value);
    end = part.end;
  }
  return { value: parts, end };
}
