/** Records as an iterator writes them into its file, made equal to those of a ring. */
import { recordPrefixBytes } from "../../native/kernel-probe.ts";

/** `tail_length` of `hw_header`, the beginning of every record. */
const tailLengthAt = 4;

const padded = (bytes: number) => Math.ceil(bytes / 8) * 8;

/**
 * Puts the prefix of a drained record in front of each. A record is `recordBytes` and its tail, padded to a multiple of 8. What is cut
 * off at the end is left out; a tail length that goes beyond the end ends the walk.
 */
export function prefixRecords(written: Uint8Array, recordBytes: number): { bytes: Uint8Array<ArrayBuffer>; records: number } {
  const from = new DataView(written.buffer, written.byteOffset, written.byteLength);
  const bytes = new Uint8Array(written.length + Math.floor(written.length / recordBytes) * recordPrefixBytes);
  const to = new DataView(bytes.buffer);
  let records = 0;
  let at = 0;
  let target = 0;
  while (at + recordBytes <= written.length) {
    const length = recordBytes + from.getUint32(at + tailLengthAt, true);
    if (at + padded(length) > written.length) break;
    to.setUint32(target, length, true);
    bytes.set(written.subarray(at, at + length), target + recordPrefixBytes);
    at += padded(length);
    target += recordPrefixBytes + padded(length);
    records += 1;
  }
  return { bytes: bytes.subarray(0, target), records };
}
