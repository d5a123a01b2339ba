import fc from "fast-check";
import { expect, it } from "vitest";
import {
  decodeBlocks,
  decodeDrops,
  decodeFlows,
  decodeInterfaces,
  decodeLosses,
  decodeSchedules,
  decodeSyscalls,
  type MapEntries,
} from "../../../services/agent/decode-counters.ts";
import { eventLayout } from "../../../services/agent/event-layout.generated.ts";
import { writeAddress } from "./raw-records.ts";

const decoders = [decodeFlows, decodeSyscalls, decodeSchedules, decodeBlocks, decodeInterfaces, decodeDrops, decodeLosses] as const;

/** One entry on two processors: counters are written by both. */
function entry(
  sizes: { keyBytes: number; valueBytes: number },
  key: (bytes: Buffer) => void,
  values: readonly ((bytes: Buffer) => void)[],
): MapEntries {
  const keyPart = Buffer.alloc(sizes.keyBytes);
  key(keyPart);
  const valueParts = values.map((fill) => {
    const bytes = Buffer.alloc(sizes.valueBytes);
    fill(bytes);
    return bytes;
  });
  return { bytes: Buffer.concat([keyPart, ...valueParts]), ...sizes, cpus: values.length };
}

const add = (offset: number, value: bigint) => (bytes: Buffer) => bytes.writeBigUInt64LE(value, offset);

it("counters are summed over processors, and a cgroup is not", () => {
  const { syscallKey: key, syscallValue: value } = eventLayout;
  const processor = (count: bigint, cgroup: bigint) => (bytes: Buffer) => {
    add(value.count, count)(bytes);
    add(value.sumNs, 2n ** 40n)(bytes);
    add(value.cgroup, cgroup)(bytes);
    add(value.buckets + 8 * 35, count)(bytes);
  };
  const entries = entry(
    { keyBytes: key.structBytes, valueBytes: value.structBytes },
    (bytes) => {
      bytes.writeUInt32LE(7, key.tgid);
      bytes.writeUInt32LE(257, key.number);
    },
    [processor(3n, 44n), processor(4n, 44n), processor(0n, 0n)],
  );
  const row = decodeSyscalls(entries)?.[0];
  expect(row).toMatchObject({ tgid: 7, number: 257, count: 7, sumNs: 3 * 2 ** 40, cgroup: 44n, errors: 0 });
  expect([row?.buckets.length, row?.buckets[35], row?.buckets[0]]).toEqual([36, 7, 0]);
});

it("a flow names both ends as its key does", () => {
  const { flowKey: key, flowValue: value } = eventLayout;
  const entries = entry(
    { keyBytes: key.structBytes, valueBytes: value.structBytes },
    (bytes) => {
      bytes.writeBigUInt64LE(5n, key.cgroup);
      writeAddress(bytes, key.remote, { ip: [10, 0, 0, 1], port: 6379, family: 2 });
      bytes.writeUInt8(1, key.role);
      bytes.writeUInt8(6, key.transport);
    },
    [add(value.bytesSent, 10n), add(value.bytesSent, 5n)],
  );
  expect(decodeFlows(entries)?.[0]).toMatchObject({
    cgroup: 5n,
    local: { ip: "", port: 0 },
    remote: { ip: "10.0.0.1", port: 6379 },
    role: "client",
    transport: "tcp",
    bytesSent: 15,
  });
});

it("a block row says in which hierarchy its cgroup is", () => {
  const { blockKey: key, blockValue: value } = eventLayout;
  const row = (cgroup: bigint, operation: number): unknown =>
    decodeBlocks(
      entry(
        { keyBytes: key.structBytes, valueBytes: value.structBytes },
        (bytes) => {
          bytes.writeBigUInt64LE(cgroup, key.cgroup);
          bytes.writeUInt32LE((254 << 20) | 17, key.device);
          bytes.writeUInt8(operation, key.operation);
        },
        [add(value.bytes, 4096n)],
      ),
    )?.[0];
  expect(row(9n, 1)).toMatchObject({ cgroup: 9n, hierarchy: "v2", major: 254, minor: 17, operation: "write", bytes: 4096 });
  expect(row((1n << 63n) | 9n, 0)).toMatchObject({ cgroup: 9n, hierarchy: "blkio", operation: "read" });
  expect(row(0n, 77)).toMatchObject({ cgroup: 0n, hierarchy: "v2", operation: "other" });
});

it("losses are by place", () => {
  const first = entry({ keyBytes: 8, valueBytes: 8 }, (bytes) => bytes.writeUInt32LE(2), [add(0, 4n), add(0, 5n)]);
  const second = entry({ keyBytes: 8, valueBytes: 8 }, (bytes) => bytes.writeUInt32LE(10), [add(0, 0n), add(0, 1n)]);
  const both = { ...first, bytes: Buffer.concat([first.bytes, second.bytes]) };
  expect([...(decodeLosses(both) ?? [])]).toEqual([
    [2, 9],
    [10, 1],
  ]);
});

it("sizes of another version are refused, and an entry that is cut is left out", () => {
  const { dropKey: key, dropValue: value } = eventLayout;
  const good = entry({ keyBytes: key.structBytes, valueBytes: value.structBytes }, (bytes) => bytes.writeUInt32LE(3, key.reason), [
    add(value.count, 1n),
  ]);
  expect(decodeDrops(good)).toEqual([{ reason: 3, netns: 0, count: 1 }]);
  expect(decodeDrops({ ...good, keyBytes: 16 })).toBeNull();
  expect(decodeDrops({ ...good, valueBytes: 16 })).toBeNull();
  expect(decodeDrops({ ...good, cpus: 0 })).toBeNull();
  expect(decodeDrops({ ...good, bytes: good.bytes.subarray(0, 12) })).toEqual([]);
});

it("no bytes make a decoder throw", () => {
  const { flowKey, flowValue, syscallKey, syscallValue, scheduleKey, scheduleValue, blockKey, blockValue } = eventLayout;
  const sizes = [
    [flowKey.structBytes, flowValue.structBytes],
    [syscallKey.structBytes, syscallValue.structBytes],
    [scheduleKey.structBytes, scheduleValue.structBytes],
    [blockKey.structBytes, blockValue.structBytes],
    [8, 32],
    [8, 8],
  ] as const;
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2_000 }),
      fc.constantFrom(...sizes),
      fc.integer({ min: -1, max: 4 }),
      (bytes, [keyBytes, valueBytes], cpus) => {
        for (const decode of decoders) expect(() => decode({ bytes, keyBytes, valueBytes, cpus })).not.toThrow();
      },
    ),
  );
});
