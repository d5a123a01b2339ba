import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32InTypeScript, decodeJsonAndBytes, encodeJsonAndBytes, frameHeader, frameRecord, scanFrames } from "../../contract/frame.ts";

const options = { file: "test", versionMax: 1 };
const payloads = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 12 });

function file(records: readonly Uint8Array[]): { bytes: Buffer; ends: number[] } {
  const parts: Uint8Array[] = [frameHeader(1)];
  const ends: number[] = [];
  for (const record of records) {
    parts.push(...frameRecord([record.subarray(0, 1), record.subarray(1)].filter((part) => part.length > 0)));
    ends.push(Buffer.concat(parts).length);
  }
  return { bytes: Buffer.concat(parts), ends };
}

function read(bytes: Uint8Array): Uint8Array[] {
  return scanFrames(bytes, options).records.map(({ start, end }) => Uint8Array.from(bytes.subarray(start, end)));
}

describe("framed files", () => {
  it("give back the records that were written", async () => {
    await fc.assert(
      fc.property(payloads, (records) => {
        expect(read(file(records).bytes)).toEqual(records);
      }),
    );
  });

  it("lose nothing but the torn record when they end anywhere", async () => {
    await fc.assert(
      fc.property(payloads, fc.double({ min: 0, max: 1, noNaN: true }), (records, where) => {
        const { bytes, ends } = file(records);
        const cut = Math.floor(where * bytes.length);
        const whole = ends.filter((end) => end <= cut).length;
        const scan = scanFrames(bytes.subarray(0, cut), options);
        expect(read(bytes.subarray(0, cut))).toEqual(records.slice(0, whole));
        expect(scan.validBytes).toBe(cut < 8 ? 0 : (ends[whole - 1] ?? 8));
      }),
    );
  });

  it("never throw for a damaged tail and keep every record before the damage", async () => {
    await fc.assert(
      fc.property(payloads, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 40 }), (records, at, garbage) => {
        const { bytes, ends } = file(records);
        const from = 8 + (at % (bytes.length - 8));
        const damaged = Buffer.concat([bytes.subarray(0, from), garbage]);
        const whole = ends.filter((end) => end <= from).length;
        expect(read(damaged).slice(0, whole)).toEqual(records.slice(0, whole));
      }),
    );
  });

  it("notice every single flipped bit of a record", async () => {
    await fc.assert(
      fc.property(payloads, fc.nat(), fc.integer({ min: 0, max: 7 }), (records, at, bit) => {
        const { bytes, ends } = file(records);
        const index = 8 + (at % (bytes.length - 8));
        bytes[index] = (bytes[index] as number) ^ (1 << bit);
        const whole = ends.filter((end) => end <= index).length;
        expect(read(bytes)).toEqual(records.slice(0, whole));
      }),
    );
  });

  it("of a newer version are refused, files of something else are empty", () => {
    expect(() => scanFrames(frameHeader(2), options)).toThrow(expect.objectContaining({ code: "DATA_VERSION_UNKNOWN" }));
    expect(scanFrames(Buffer.from("SQLite format 3"), options)).toEqual({ records: [], validBytes: 0 });
  });

  it("have the checksum that zip has, in TypeScript too", async () => {
    expect(crc32InTypeScript(Buffer.from("123456789"))).toBe(0xcbf43926);
    await fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) => {
        expect(crc32InTypeScript(right, crc32InTypeScript(left))).toBe(crc32InTypeScript(Buffer.concat([left, right])));
      }),
    );
  });

  it("hold a JSON document with bytes after it", async () => {
    await fc.assert(
      fc.property(fc.jsonValue(), fc.uint8Array(), (json, bytes) => {
        const decoded = decodeJsonAndBytes(Buffer.concat(encodeJsonAndBytes(json, [bytes])));
        expect(decoded.json).toEqual(JSON.parse(JSON.stringify(json)));
        expect(Uint8Array.from(decoded.bytes)).toEqual(bytes);
      }),
    );
  });
});
