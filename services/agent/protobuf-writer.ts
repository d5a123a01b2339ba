/** Writes the protobuf wire format into one growing buffer; messages inside messages get their length when they end. */
import { Buffer } from "node:buffer";

const wire = { varint: 0, fixed64: 1, bytes: 2 } as const;
const firstBytes = 65_536;
/** 2^53 − 1 as a varint; no number of ours needs more. */
const varintBytesMax = 10;
const two32 = 4_294_967_296;

export class ProtobufWriter {
  #bytes = Buffer.allocUnsafe(firstBytes);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  /** A copy of what was written; the writer begins anew. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = Uint8Array.from(this.#bytes.subarray(0, this.#at));
    this.#at = 0;
    return taken;
  }

  /** Begins a message in field `field`; the answer is for `end`. */
  begin(field: number): number {
    this.#tag(field, wire.bytes);
    this.#room(1);
    this.#at += 1;
    return this.#at;
  }

  end(begin: number): void {
    const length = this.#at - begin;
    const lengthBytes = varintLength(length);
    // Most messages are shorter than 128 bytes, so that the one byte kept free is enough.
    if (lengthBytes > 1) {
      this.#room(lengthBytes);
      this.#bytes.copyWithin(begin + lengthBytes - 1, begin, this.#at);
      this.#at += lengthBytes - 1;
    }
    this.#putVarint(length, begin - 1);
  }

  /** A non-negative integer below 2^53. */
  varint(field: number, value: number): void {
    this.#tag(field, wire.varint);
    this.#room(varintBytesMax);
    this.#at = this.#putVarint(value, this.#at);
  }

  /** An int64 by its two's complement. */
  int64(field: number, value: number): void {
    if (value >= 0) {
      this.varint(field, value);
      return;
    }
    this.#tag(field, wire.varint);
    this.#room(varintBytesMax);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.#bytes[this.#at] = Number(rest & 0x7fn) | 0x80;
      this.#at += 1;
      rest >>= 7n;
    }
    this.#bytes[this.#at] = Number(rest);
    this.#at += 1;
  }

  fixed64(field: number, value: bigint): void {
    this.#tag(field, wire.fixed64);
    this.#room(8);
    this.#at = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.#at);
  }

  double(field: number, value: number): void {
    this.#tag(field, wire.fixed64);
    this.#room(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  packedDoubles(field: number, values: readonly number[]): void {
    this.#packed(field, values.length);
    for (const value of values) this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** Non-negative integers below 2^53 as fixed64. */
  packedFixed64(field: number, values: readonly number[]): void {
    this.#packed(field, values.length);
    for (const value of values) this.#at = this.#putFixed64(value, this.#at);
  }

  /** A non-negative integer below 2^53 as fixed64. */
  fixed64Number(field: number, value: number): void {
    this.#tag(field, wire.fixed64);
    this.#room(8);
    this.#at = this.#putFixed64(value, this.#at);
  }

  string(field: number, value: string): void {
    this.#tag(field, wire.bytes);
    const length = Buffer.byteLength(value, "utf8");
    this.#room(varintBytesMax + length);
    this.#at = this.#putVarint(length, this.#at);
    this.#at += this.#bytes.write(value, this.#at, length, "utf8");
  }

  /** Bytes that are given as hex digits. */
  hex(field: number, value: string): void {
    this.#tag(field, wire.bytes);
    const length = value.length / 2;
    this.#room(varintBytesMax + length);
    this.#at = this.#putVarint(length, this.#at);
    this.#at += this.#bytes.write(value, this.#at, length, "hex");
  }

  #packed(field: number, count: number): void {
    this.#tag(field, wire.bytes);
    this.#room(varintBytesMax + count * 8);
    this.#at = this.#putVarint(count * 8, this.#at);
  }

  #tag(field: number, wireType: number): void {
    this.#room(varintBytesMax);
    this.#at = this.#putVarint(field * 8 + wireType, this.#at);
  }

  #putFixed64(value: number, at: number): number {
    this.#bytes.writeUInt32LE(value % two32, at);
    return this.#bytes.writeUInt32LE(Math.floor(value / two32), at + 4);
  }

  #putVarint(value: number, at: number): number {
    let rest = value;
    let place = at;
    while (rest > 0x7f) {
      this.#bytes[place] = (rest % 128) | 0x80;
      place += 1;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[place] = rest;
    return place + 1;
  }

  #room(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + more));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) length += 1;
  return length;
}
