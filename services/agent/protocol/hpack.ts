import { headerBytesMax } from "./exchange.ts";
import { decodeHuffman } from "./huffman.ts";
import type { OperationNames } from "./operation-names.ts";

/** The headers that exchanges are made of; everything else is only counted. */
export type HeaderName = ":method" | ":path" | ":status" | "content-type" | "grpc-status";

/** Names of the static table (RFC 7541, appendix A) that matter, and their values. */
const staticNames: Readonly<Record<number, HeaderName>> = {
  2: ":method",
  3: ":method",
  4: ":path",
  5: ":path",
  8: ":status",
  9: ":status",
  10: ":status",
  11: ":status",
  12: ":status",
  13: ":status",
  14: ":status",
  31: "content-type",
};
const staticValues: Readonly<Record<number, string>> = {
  2: "GET",
  3: "POST",
  4: "/",
  5: "/index.html",
  8: "200",
  9: "204",
  10: "206",
  11: "304",
  12: "400",
  13: "404",
  14: "500",
};
/** Lengths of all static names, for the sizes of entries that take their name from there. */
const staticLengths: readonly number[] = [
  ...[0, 10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12],
  ...[6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16],
];
const staticCount = 61;
const known = new Set<string>([":method", ":path", ":status", "content-type", "grpc-status"]);

/** Of the table, however large the peer's settings allow it. */
const tableBytesMax = 65_536;
const tableBytesDefault = 4_096;
const entryOverhead = 32;
/** Bytes of a value that are kept; names that are longer than the longest known one are of no interest. */
const valueBytesMax = 256;
/** Fields of one block at most: an index costs one byte, so a block of 16 KiB could hold as many. */
const fieldsMax = 1_024;

interface Entry {
  readonly name: HeaderName | null;
  /** Null where it is not kept or was never seen. */
  readonly value: string | null;
  readonly nameBytes: number;
  readonly bytes: number;
}

/** Header block of a message: what is known of it. `unseen`: names or values that came before the decoder saw the connection. */
export interface HeaderBlock {
  readonly fields: ReadonlyMap<HeaderName, string>;
  readonly unseen: number;
}

interface Text {
  /** In `scratch`, at most its size. */
  kept: number;
  /** Decoded length. */
  bytes: number;
  /** Where the next thing begins, -1 when the text does not fit its block. */
  end: number;
}

/**
 * Decodes the header blocks of one direction of a connection. Strings are decoded to know their sizes, and kept only where they matter.
 * A decoder that missed earlier blocks (`missed`) treats unknown indices as unseen; in one that saw everything they are malformed.
 */
export class HpackDecoder {
  readonly #operations: OperationNames;
  /** Newest last. */
  #entries: Entry[] = [];
  #bytes = 0;
  #bytesMax = tableBytesDefault;
  #missed: boolean;
  readonly #scratch = new Uint8Array(valueBytesMax);
  readonly #text: Text = { kept: 0, bytes: 0, end: 0 };
  #integerEnd = 0;
  #unseen = 0;

  constructor(options: { readonly operations: OperationNames; readonly start: "beginning" | "middle" }) {
    this.#operations = options.operations;
    this.#missed = options.start === "middle";
  }

  /** Bytes of the table as HPACK counts them. */
  get tableBytes(): number {
    return this.#bytes;
  }

  /** Blocks were lost: entries cannot be told by their index any more. */
  miss(): void {
    this.#missed = true;
    this.#entries = [];
    this.#bytes = 0;
  }

  /** One whole block, or null when it is malformed; the decoder is then as after `miss`. */
  decode(data: Uint8Array, from: number, to: number): HeaderBlock | null {
    const fields = new Map<HeaderName, string>();
    this.#unseen = 0;
    let at = from;
    for (let count = 0; at < to; count += 1) {
      at = count < fieldsMax && to - from <= headerBytesMax ? this.#field(data, { at, to }, fields) : -1;
      if (at < 0) {
        this.miss();
        return null;
      }
    }
    return { fields, unseen: this.#unseen };
  }

  /** Where the next field begins, -1 when this one is malformed. */
  #field(data: Uint8Array, block: { at: number; to: number }, fields: Map<HeaderName, string>): number {
    const { at, to } = block;
    const first = data[at] ?? 0;
    if (first >= 128) return this.#indexed(this.#integer(data, { at, to, bits: 7 }), fields);
    if (first >= 64) return this.#literal(data, { at, to, bits: 6 }, fields);
    if (first >= 32) {
      const size = this.#integer(data, { at, to, bits: 5 });
      if (size < 0 || size > tableBytesMax) return -1;
      this.#bytesMax = size;
      this.#evict(0);
      return this.#integerEnd;
    }
    return this.#literal(data, { at, to, bits: 4 }, fields);
  }

  #indexed(index: number, fields: Map<HeaderName, string>): number {
    if (index <= 0) return -1;
    if (index <= staticCount) {
      const name = staticNames[index];
      if (name !== undefined) fields.set(name, staticValues[index] ?? "");
      return this.#integerEnd;
    }
    const entry = this.#entries[this.#entries.length - (index - staticCount)];
    if (entry === undefined) {
      if (!this.#missed) return -1;
      this.#unseen += 1;
      return this.#integerEnd;
    }
    if (entry.name !== null && entry.value !== null) fields.set(entry.name, entry.value);
    return this.#integerEnd;
  }

  #literal(data: Uint8Array, field: { at: number; to: number; bits: number }, fields: Map<HeaderName, string>): number {
    const index = this.#integer(data, field);
    if (index < 0) return -1;
    let name: HeaderName | null = null;
    let nameBytes = 0;
    let at = this.#integerEnd;
    if (index === 0) {
      if (!this.#string(data, at, field.to)) return -1;
      name = this.#headerName();
      nameBytes = this.#text.bytes;
      at = this.#text.end;
    } else if (index <= staticCount) {
      name = staticNames[index] ?? null;
      nameBytes = staticLengths[index] ?? 0;
    } else {
      const entry = this.#entries[this.#entries.length - (index - staticCount)];
      if (entry === undefined && !this.#missed) return -1;
      if (entry === undefined) this.#unseen += 1;
      name = entry?.name ?? null;
      nameBytes = entry?.nameBytes ?? 0;
    }
    if (!this.#string(data, at, field.to)) return -1;
    const value = name === null ? null : this.#operations.text(this.#scratch, 0, this.#text.kept);
    if (name !== null && value !== null) fields.set(name, value);
    if (field.bits === 6) this.#add({ name, value, nameBytes, bytes: nameBytes + this.#text.bytes + entryOverhead });
    return this.#text.end;
  }

  #add(entry: Entry): void {
    this.#evict(entry.bytes);
    if (entry.bytes > this.#bytesMax) return;
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
  }

  #evict(incoming: number): void {
    let gone = 0;
    while (gone < this.#entries.length && this.#bytes + incoming > this.#bytesMax) {
      this.#bytes -= this.#entries[gone]?.bytes ?? 0;
      gone += 1;
    }
    if (gone > 0) this.#entries.splice(0, gone);
  }

  #headerName(): HeaderName | null {
    if (this.#text.bytes > 16) return null;
    const text = this.#operations.text(this.#scratch, 0, this.#text.kept);
    return known.has(text) ? (text as HeaderName) : null;
  }

  /** Reads a string into `#text` and `#scratch`. */
  #string(data: Uint8Array, at: number, to: number): boolean {
    if (at >= to) return false;
    const length = this.#integer(data, { at, to, bits: 7 });
    const from = this.#integerEnd;
    if (length < 0 || from + length > to) return false;
    const end = from + length;
    if ((data[at] ?? 0) >= 128) {
      this.#text.bytes = decodeHuffman(data, from, end, this.#scratch);
    } else {
      for (let index = 0; index < Math.min(length, valueBytesMax); index += 1) this.#scratch[index] = data[from + index] ?? 0;
      this.#text.bytes = length;
    }
    this.#text.kept = Math.min(this.#text.bytes, valueBytesMax);
    this.#text.end = end;
    return this.#text.bytes >= 0;
  }

  /** An integer with a prefix of `bits`; its end in `#integerEnd`. -1 when it is cut or beyond 2^28. */
  #integer(data: Uint8Array, place: { at: number; to: number; bits: number }): number {
    const mask = (1 << place.bits) - 1;
    let value = (data[place.at] ?? 0) & mask;
    let at = place.at + 1;
    this.#integerEnd = at;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (at >= place.to) return -1;
      const byte = data[at] ?? 0;
      value += (byte & 127) << shift;
      at += 1;
      if (byte < 128) {
        this.#integerEnd = at;
        return value;
      }
    }
    return -1;
  }
}
