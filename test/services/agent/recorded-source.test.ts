import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { expect, it } from "vitest";
import { frameHeader, frameRecord } from "../../../contract/frame.ts";
import type { ProbeBatch } from "../../../contract/port.ts";
import { ProbeRecordWriter } from "../../../services/agent/record-writer.ts";
import { RecordedSource } from "../../../services/agent/recorded-source.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";

const folder = useTemporaryFolder();
const header = { eventVersion: 1, startedAtMs: 5, kernel: "6.18" };

function aBatch(name: string, bytes: Uint8Array): ProbeBatch {
  return { kind: "records", name, atMs: 1.5, clockOffsetNs: 1.7e18, keyBytes: 0, valueBytes: 0, cpus: 0, bytes };
}

async function all(source: RecordedSource): Promise<ProbeBatch[]> {
  const batches: ProbeBatch[] = [];
  for (let batch = await source.next(); batch !== null; batch = await source.next()) batches.push(batch);
  return batches;
}

it("keeps header and batches, larger and smaller than a frame, and an empty dump", async () => {
  const file = join(folder.path, "deep", "r.hwk");
  const writer = new ProbeRecordWriter(file, header);
  const batches = [0, 8, 3_000_000, 16, 1_500_000].map((size, index) => aBatch(`ring${index}`, new Uint8Array(size).fill(index + 1)));
  for (const batch of batches) writer.add(batch);
  await writer.close();
  const source = new RecordedSource(file);
  expect(source.header).toEqual({ recording: "probe", ...header });
  expect(source.tornBytes).toBe(0);
  expect((await all(source)).map(({ name, bytes }) => [name, bytes.length, bytes[0]])).toEqual(
    batches.map(({ name, bytes }) => [name, bytes.length, bytes[0]]),
  );
});

it("takes its own copy of a batch, whose memory the source uses again", async () => {
  const file = join(folder.path, "r.hwk");
  const writer = new ProbeRecordWriter(file, header);
  const bytes = new Uint8Array(8).fill(1);
  writer.add(aBatch("ring", bytes));
  bytes.fill(2);
  await writer.close();
  expect((await all(new RecordedSource(file)))[0]?.bytes).toEqual(new Uint8Array(8).fill(1));
});

it("reads what is whole of a file whose recorder was killed, and says how much is not", async () => {
  const file = join(folder.path, "r.hwk");
  const writer = new ProbeRecordWriter(file, header);
  for (let index = 0; index < 3; index += 1) writer.add(aBatch(`ring${index}`, new Uint8Array(1_100_000).fill(index)));
  await writer.close();
  truncateSync(file, readFileSync(file).length - 3);
  const source = new RecordedSource(file);
  expect(source.tornBytes).toBeGreaterThan(0);
  expect((await all(source)).map(({ name }) => name)).toEqual(["ring0", "ring1"]);
});

it("leaves out and counts batches that the disk does not keep up with", async () => {
  const writer = new ProbeRecordWriter(join(folder.path, "r.hwk"), header);
  for (let index = 0; index < 8; index += 1) writer.add(aBatch("ring", new Uint8Array(8_000_000)));
  expect(writer.dropped).toBe(4);
  await writer.close();
});

it("says that a file cannot be written", async () => {
  const writer = new ProbeRecordWriter(join("/proc", "headwater.hwk"), header);
  writer.add(aBatch("ring", new Uint8Array(8)));
  await expect(writer.close()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
});

it("refuses what is no recording of kernel events, naming the file", () => {
  const refused = (content: readonly Uint8Array[]) => {
    const file = join(folder.path, "bad.hwk");
    writeFileSync(file, Buffer.concat(content));
    return () => new RecordedSource(file);
  };
  expect(() => new RecordedSource(join(folder.path, "none.hwk"))).toThrow(/none.hwk cannot be read/);
  expect(refused([])).toThrow(/bad.hwk is no recording/);
  expect(refused([Buffer.from("something else entirely")])).toThrow(/bad.hwk is no recording/);
  expect(refused([frameHeader(1), ...frameRecord([Buffer.from('{"recording":"other"}')])])).toThrow(/bad.hwk is no recording/);
  expect(refused([frameHeader(2)])).toThrow(/format version 2/);
});

it("says which frame is damaged inside, and does not crash for it", async () => {
  const start = [frameHeader(1), ...frameRecord([Buffer.from(JSON.stringify({ recording: "probe", ...header }))])];
  const length = Buffer.from([200, 0, 0, 0]);
  const damaged = [
    Buffer.from("not brotli"),
    brotliCompressSync(Buffer.from([1, 2])),
    brotliCompressSync(length),
    brotliCompressSync(Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from("{}")])),
  ];
  for (const payload of damaged) {
    const file = join(folder.path, "bad.hwk");
    writeFileSync(file, Buffer.concat([...start, ...frameRecord([payload])]));
    await expect(new RecordedSource(file).next()).rejects.toMatchObject({
      code: "RECORDING_INVALID",
      message: expect.stringContaining("frame 1"),
    });
  }
});
