/** Reads the protobuf wire format, every byte bounds-checked. Never throws: the first failure is kept and ends all reading. */
import { Buffer } from "node:buffer";
import type { OtlpTime } from "./otlp-model.ts";

/** Why and at which byte a body could not be read further. */
export interface WireFailure {
  readonly offset: number;
  readonly message: string;
}

const two32 = 4_294_967_296;

export const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/**
 * A cursor with a limit: the end of the message it is in. `next` moves to the next field; one of the `read…` methods or `skip` must then
 * take its value. After a failure `next` answers false and the values read are zero.
 */
export class ProtobufReader {
  #bytes: Buffer;
  #at = 0;
  #limit: number;
  #fieldAt = 0;
  #failure: WireFailure | null = null;
  /** Number and wire type of the field that `next` found. */
  field = 0;
  wireType = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#limit = bytes.byteLength;
  }

  get failure(): WireFailure | null {
    return this.#failure;
  }

  /** Where the current field began. */
  get fieldOffset(): number {
    return this.#fieldAt;
  }

  get offset(): number {
    return this.#at;
  }

  /** Moves to the next field of the current message; false at its end or after a failure. */
  next(): boolean {
    if (this.#failure !== null || this.#at >= this.#limit) return false;
    this.#fieldAt = this.#at;
    const tag = this.#varint32("a field tag");
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.#failure !== null) return false;
    if (this.field === 0) return this.fail("field number 0 does not exist");
    if (this.wireType > 5 || this.wireType === 3 || this.wireType === 4) return this.fail(`wire type ${this.wireType} is not allowed`);
    return true;
  }

  /** Enters the length-delimited field as a message; answers the limit that `leave` needs. */
  enter(): number {
    const outer = this.#limit;
    const length = this.#length();
    this.#limit = this.#at + length;
    return outer;
  }

  /** Leaves a message entered before, past whatever of it was not read. */
  leave(outer: number): void {
    this.#at = this.#limit;
    this.#limit = outer;
    if (this.#failure !== null) this.#at = this.#limit;
  }

  /** Goes back to an offset inside the current message, to read it a second time. */
  rewind(offset: number): void {
    if (this.#failure === null) this.#at = offset;
  }

  skip(): void {
    if (this.wireType === wire.varint) this.#varint64();
    else if (this.wireType === wire.fixed64) this.#take(8);
    else if (this.wireType === wire.fixed32) this.#take(4);
    else this.#take(this.#length());
  }

  /** Passes a packed list of 8-byte values. */
  skipPacked64(): void {
    const length = this.#length();
    if (length % 8 !== 0) this.fail(`a packed list of ${length} bytes is not made of 8-byte values`);
    else this.#take(length);
  }

  readString(): string {
    const length = this.#length();
    const at = this.#take(length);
    return this.#failure === null ? this.#bytes.toString("utf8", at, at + length) : "";
  }

  readHex(): string {
    const length = this.#length();
    const at = this.#take(length);
    return this.#failure === null ? this.#bytes.toString("hex", at, at + length) : "";
  }

  readBase64(): string {
    const length = this.#length();
    const at = this.#take(length);
    return this.#failure === null ? this.#bytes.toString("base64", at, at + length) : "";
  }

  /** An enum, bool or uint32: the low 32 bits as a signed number, as protobuf has it. */
  readInt32(): number {
    if (!this.#expect(wire.varint)) return 0;
    return this.#varint64().low | 0;
  }

  /** A uint64 varint, rounded to the nearest double above 2^53. */
  readUint64(): number {
    if (!this.#expect(wire.varint)) return 0;
    const { high, low } = this.#varint64();
    return high * two32 + low;
  }

  /** An int64 varint in decimal digits, exact. */
  readInt64Text(): string {
    if (!this.#expect(wire.varint)) return "0";
    const { high, low } = this.#varint64();
    const value = (high | 0) * two32 + low;
    return Number.isSafeInteger(value) ? String(value) : String((BigInt(high | 0) << 32n) + BigInt(low));
  }

  readDouble(): number {
    if (!this.#expect(wire.fixed64)) return 0;
    const at = this.#take(8);
    return this.#failure === null ? this.#bytes.readDoubleLE(at) : 0;
  }

  /** An unsigned fixed64, rounded to the nearest double above 2^53. */
  readFixed64(): number {
    if (!this.#expect(wire.fixed64)) return 0;
    return this.#fixed64();
  }

  /** A signed fixed64, rounded to the nearest double beyond 2^53. */
  readSfixed64(): number {
    if (!this.#expect(wire.fixed64)) return 0;
    const at = this.#take(8);
    return this.#failure === null ? this.#bytes.readInt32LE(at + 4) * two32 + this.#bytes.readUInt32LE(at) : 0;
  }

  /** Nanoseconds since 1970 as exact microseconds and a rest. */
  readTime(): OtlpTime {
    if (!this.#expect(wire.fixed64)) return { us: 0, ns: 0 };
    const at = this.#take(8);
    if (this.#failure !== null) return { us: 0, ns: 0 };
    const low = this.#bytes.readUInt32LE(at);
    const high = this.#bytes.readUInt32LE(at + 4);
    // 2^32 = 4,294,967 × 1,000 + 296, so no product here leaves the exact integers for times before the year 2262.
    const rest = high * 296 + low;
    return { us: high * 4_294_967 + Math.floor(rest / 1_000), ns: rest % 1_000 };
  }

  /** A repeated fixed64, packed or not, appended to `into`. */
  readRepeatedFixed64(into: number[]): void {
    this.#readRepeated(into, () => this.#fixed64());
  }

  /** A repeated double, packed or not, appended to `into`. */
  readRepeatedDouble(into: number[]): void {
    this.#readRepeated(into, () => {
      const at = this.#take(8);
      return this.#failure === null ? this.#bytes.readDoubleLE(at) : 0;
    });
  }

  /** Keeps the first failure and ends reading; always false, so that it can be returned. */
  fail(message: string, offset = this.#fieldAt): false {
    this.#failure ??= { offset, message };
    this.#at = this.#limit;
    return false;
  }

  #readRepeated(into: number[], read: () => number): void {
    if (this.wireType === wire.fixed64) {
      into.push(read());
      return;
    }
    const length = this.#length();
    if (length % 8 !== 0) this.fail(`a packed list of ${length} bytes is not made of 8-byte values`);
    const end = this.#at + length;
    while (this.#failure === null && this.#at < end) into.push(read());
  }

  #expect(wireType: number): boolean {
    if (this.#failure !== null) return false;
    if (this.wireType === wireType) return true;
    return this.fail(`field ${this.field} has wire type ${this.wireType}, expected ${wireType}`);
  }

  #fixed64(): number {
    const at = this.#take(8);
    return this.#failure === null ? this.#bytes.readUInt32LE(at + 4) * two32 + this.#bytes.readUInt32LE(at) : 0;
  }

  #length(): number {
    if (!this.#expect(wire.bytes)) return 0;
    const length = this.#varint32("a length");
    if (this.#failure !== null) return 0;
    if (length > this.#limit - this.#at) {
      this.fail(`field ${this.field} needs ${length} bytes, ${this.#limit - this.#at} are left`);
      return 0;
    }
    return length;
  }

  #take(length: number): number {
    const at = this.#at;
    if (this.#failure !== null) return at;
    if (length > this.#limit - at) this.fail(`field ${this.field} needs ${length} bytes, ${this.#limit - at} are left`);
    else this.#at = at + length;
    return at;
  }

  #varint32(what: string): number {
    const first = this.#at < this.#limit ? (this.#bytes[this.#at] as number) : 0x80;
    if (first < 0x80) {
      this.#at += 1;
      return first;
    }
    const start = this.#at;
    const { high, low } = this.#varint64();
    if (high !== 0) this.fail(`${what} is larger than 32 bits`, start);
    return low;
  }

  #varint64(): { high: number; low: number } {
    const start = this.#at;
    let low = 0;
    let high = 0;
    for (let count = 0; count < 10; count += 1) {
      if (this.#at >= this.#limit) {
        this.fail("the bytes end within a varint", start);
        return { high: 0, low: 0 };
      }
      const byte = this.#bytes[this.#at] as number;
      this.#at += 1;
      const bits = byte & 0x7f;
      if (count < 4) low |= bits << (7 * count);
      else if (count === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * count - 32);
      if (byte < 0x80) return { high: high >>> 0, low: low >>> 0 };
    }
    this.fail("a varint is longer than 10 bytes", start);
    return { high: 0, low: 0 };
  }
}
