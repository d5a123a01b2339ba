import { expect, it } from "vitest";
import { prefixRecords } from "../../../services/agent/iterator-records.ts";

/** A record of 16 bytes and its tail, padded to a multiple of 8. */
function written(tail: number, claimed = tail): Buffer {
  const bytes = Buffer.alloc(16 + Math.ceil(tail / 8) * 8, 0xab);
  bytes.writeUInt32LE(claimed, 4);
  return bytes;
}

it("puts length and zero in front of every record, with and without a tail", () => {
  const { bytes, records } = prefixRecords(Buffer.concat([written(0), written(3), written(8)]), 16);
  expect(records).toBe(3);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += 8 + Math.ceil(view.getUint32(at, true) / 8) * 8) {
    lengths.push(view.getUint32(at, true));
    expect(view.getUint32(at + 4, true)).toBe(0);
    expect(bytes[at + 8]).toBe(0xab);
  }
  expect(lengths).toEqual([16, 19, 24]);
});

it("leaves out what is cut off or claims a tail that is not there", () => {
  expect(prefixRecords(new Uint8Array(0), 16)).toMatchObject({ records: 0, bytes: { length: 0 } });
  expect(prefixRecords(Buffer.concat([written(0), Buffer.alloc(15)]), 16)).toMatchObject({ records: 1, bytes: { length: 24 } });
  expect(prefixRecords(Buffer.concat([written(0), written(8, 4_294_967_295), written(0)]), 16).records).toBe(1);
});
