import { headerBytesMax } from "./exchange.ts";
import type { StreamBytes } from "./stream-bytes.ts";

/** Nested values at most; Redis itself stays below ten. */
const depthMax = 32;
/** Characters of a length line, sign and digits. */
const lengthDigitsMax = 20;
/** Elements of one aggregate, bytes of one string. Neither is ever allocated. */
const elementsMax = 1_048_576 * 4;
const stringBytesMax = 4_294_967_296;
/** Leading elements of which the text is kept, and bytes kept of each. */
export const textsKept = 3;
export const textBytesMax = 32;

const cr = 13;
const lf = 10;
const zero = 48;
const nine = 57;
const minus = 45;

/** First bytes of RESP values. */
export const mark = {
  simple: 43,
  error: 45,
  integer: 58,
  bulk: 36,
  array: 42,
  null: 95,
  boolean: 35,
  double: 44,
  bigNumber: 40,
  bulkError: 33,
  verbatim: 61,
  map: 37,
  set: 126,
  push: 62,
  attribute: 124,
} as const;

/**
 * Reads one RESP2 or RESP3 value after another without building it: its kind, how many elements it has, and the first bytes of its first
 * elements. Attributes belong to the value behind them.
 */
export class RespReader {
  /** First byte of the value, 0 before it is known. */
  kind = 0;
  /** Elements of an aggregate, -1 for null and for what is no aggregate. */
  count = -1;
  /** First bytes of a simple value (index 0) or of the first elements. */
  readonly texts: readonly Uint8Array[] = Array.from({ length: textsKept }, () => new Uint8Array(textBytesMax));
  readonly textLengths = new Int32Array(textsKept);
  /** Whole length of each of these texts. */
  readonly fullLengths = new Float64Array(textsKept);
  /** The last integer among the value's own elements. */
  integer = 0;
  readonly #left = new Float64Array(depthMax);
  #depth = 0;
  #attributed = false;
  #begun = false;
  #length = 0;

  /** `value`: one is complete and described by the fields until the next call. */
  read(stream: StreamBytes): "value" | "more" | "bad" {
    if (!this.#begun) this.#begin();
    for (;;) {
      if (stream.at >= stream.end) return "more";
      const answer = this.#element(stream);
      if (answer === "done") {
        if (this.#close()) {
          this.#begun = false;
          return "value";
        }
      } else if (answer !== "opened") {
        return answer;
      }
    }
  }

  /** Forgets a half-read value. */
  reset(): void {
    this.#begun = false;
  }

  /** A value has begun and its kind is known, but it is not complete. */
  get halfRead(): boolean {
    return this.#begun && this.kind !== 0;
  }

  /** The kept text of an element, for comparisons off the hot path. */
  textAt(index: number): string {
    let text = "";
    const bytes = this.texts[index];
    for (let at = 0; bytes !== undefined && at < (this.textLengths[index] ?? 0); at += 1) text += String.fromCharCode(bytes[at] ?? 0);
    return text;
  }

  #begin(): void {
    this.#begun = true;
    this.kind = 0;
    this.count = -1;
    this.integer = 0;
    this.#depth = 0;
    this.#attributed = false;
    this.textLengths.fill(0);
    this.fullLengths.fill(0);
  }

  #element(stream: StreamBytes): "done" | "opened" | "more" | "bad" {
    const type = stream.data[stream.at] ?? 0;
    switch (type) {
      case mark.bulk:
      case mark.bulkError:
      case mark.verbatim:
        return this.#bulk(stream, type);
      case mark.array:
      case mark.set:
      case mark.push:
        return this.#aggregate(stream, type, 1);
      case mark.map:
      case mark.attribute:
        return this.#aggregate(stream, type, 2);
      case mark.simple:
      case mark.error:
      case mark.integer:
      case mark.null:
      case mark.boolean:
      case mark.double:
      case mark.bigNumber:
        return this.#line(stream, type);
      default:
        return "bad";
    }
  }

  #line(stream: StreamBytes, type: number): "done" | "more" | "bad" {
    const { data, at, end } = stream;
    const limit = Math.min(end, at + headerBytesMax);
    let lineEnd = at + 1;
    while (lineEnd < limit && data[lineEnd] !== cr) lineEnd += 1;
    if (lineEnd + 1 >= end && lineEnd < at + headerBytesMax) return this.#describe(type, stream, at + 1, lineEnd);
    if (data[lineEnd] !== cr || data[lineEnd + 1] !== lf) return "bad";
    this.#describe(type, stream, at + 1, lineEnd);
    if (type === mark.integer && this.#own()) this.integer = digits(data, at + 1, lineEnd);
    stream.skip(lineEnd + 2 - at);
    return "done";
  }

  #describe(type: number, stream: StreamBytes, from: number, to: number): "more" {
    this.#setKind(type);
    this.#keepText(stream, from, to - from, to);
    return "more";
  }

  #bulk(stream: StreamBytes, type: number): "done" | "more" | "bad" {
    const header = this.#lengthLine(stream);
    if (header <= 0) return header === 0 ? "more" : "bad";
    this.#setKind(type);
    const length = this.#length;
    if (length < 0) {
      stream.skip(header);
      return "done";
    }
    if (length > stringBytesMax) return "bad";
    const body = stream.at + header;
    const wanted = Math.min(length, textBytesMax);
    if (this.#keptIndex() >= 0) {
      if (stream.end - body < wanted && stream.hidden === 0) return "more";
      this.#keepText(stream, body, length, stream.end);
    }
    stream.skip(header + length + 2);
    return "done";
  }

  #aggregate(stream: StreamBytes, type: number, factor: number): "done" | "opened" | "more" | "bad" {
    const header = this.#lengthLine(stream);
    if (header <= 0) return header === 0 ? "more" : "bad";
    const length = this.#length;
    if (length > elementsMax) return "bad";
    const attribute = type === mark.attribute;
    if (attribute && this.#depth === 0) this.#attributed = true;
    else if (this.#setKind(type)) this.count = length;
    stream.skip(header);
    // The value behind an attribute is its last element, so that both together count as one.
    const elements = Math.max(0, length) * factor + (attribute ? 1 : 0);
    if (elements === 0) return "done";
    if (this.#depth === depthMax) return "bad";
    this.#left[this.#depth] = elements;
    this.#depth += 1;
    return "opened";
  }

  /** One element is complete; true when with it the whole value is. */
  #close(): boolean {
    while (this.#depth > 0) {
      const left = (this.#left[this.#depth - 1] ?? 0) - 1;
      this.#left[this.#depth - 1] = left;
      if (left > 0) return false;
      this.#depth -= 1;
    }
    return true;
  }

  /** The element is the value itself, or the one that an attribute describes. */
  #top(): boolean {
    return this.#depth === 0 || (this.#attributed && this.kind === 0 && this.#depth === 1 && this.#left[0] === 1);
  }

  #own(): boolean {
    return this.#depth === 1 && !this.#attributed;
  }

  #setKind(type: number): boolean {
    if (this.kind !== 0 || !this.#top()) return false;
    this.kind = type;
    return true;
  }

  #keptIndex(): number {
    if (this.#depth === 0 || (this.#attributed && this.#left[0] === 1 && this.#depth === 1)) return 0;
    if (!this.#own()) return -1;
    const index = this.count * (this.kind === mark.map ? 2 : 1) - (this.#left[0] ?? 0);
    return index < textsKept ? index : -1;
  }

  #keepText(stream: StreamBytes, from: number, length: number, limit: number): void {
    const index = this.#keptIndex();
    const target = this.texts[index];
    if (target === undefined) return;
    const kept = Math.max(0, Math.min(length, textBytesMax, limit - from));
    for (let at = 0; at < kept; at += 1) target[at] = stream.data[from + at] ?? 0;
    this.textLengths[index] = kept;
    this.fullLengths[index] = length;
  }

  /** Bytes of a line such as `$12\r\n`, its number in `#length`; 0 when it is not complete, -1 when it is none. */
  #lengthLine(stream: StreamBytes): number {
    const { data, at, end } = stream;
    let position = at + 1;
    const negative = data[position] === minus;
    if (negative) position += 1;
    let value = 0;
    const first = position;
    while (position < end && position - at <= lengthDigitsMax) {
      const byte = data[position] ?? 0;
      if (byte < zero || byte > nine) break;
      value = value * 10 + byte - zero;
      position += 1;
    }
    if (position - at > lengthDigitsMax) return -1;
    if (position >= end) return 0;
    if (data[position] !== cr || position === first) return -1;
    if (position + 1 >= end) return 0;
    if (data[position + 1] !== lf) return -1;
    if (negative && value !== 1) return -1;
    this.#length = negative ? -1 : value;
    return position + 2 - at;
  }
}

function digits(data: Uint8Array, from: number, to: number): number {
  let value = 0;
  let at = data[from] === minus ? from + 1 : from;
  for (; at < to && at < from + lengthDigitsMax; at += 1) value = value * 10 + (data[at] ?? 0) - zero;
  return data[from] === minus ? -value : value;
}
