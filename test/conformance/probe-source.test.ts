import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbeBatch } from "../../contract/port.ts";
import { ProbeRecordWriter, recordedWhileRead } from "../../services/agent/record-writer.ts";
import { RecordedSource } from "../../services/agent/recorded-source.ts";
import { compileObject, generated, generatorContext, noKernelPrograms } from "../native/bpf-object.ts";
import { openGeneratorSource } from "../services/agent/generator-source.ts";
import { placeRecords, probeSourceConformance } from "./probe-source.ts";
import { temporaryFolder } from "./temporary.ts";

/** A record as the generator writes it, behind its prefix. */
function aRecord(number: number, atNs: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(136));
  view.setUint32(0, 128, true);
  view.setUint16(8, 4, true);
  view.setBigUint64(8 + 8, atNs, true);
  view.setBigUint64(8 + 48, BigInt(number), true);
  return new Uint8Array(view.buffer);
}

/** Batches as a kernel would have given them, for machines that have none. */
function sampleBatches(): ProbeBatch[] {
  const clockOffsetNs = 1_764_000_000_000_000_000;
  const batches: ProbeBatch[] = [];
  for (let first = 0; first < placeRecords; first += 100) {
    const atNs = BigInt(1_000_000_000 + first * 1_000);
    const records = Array.from({ length: 100 }, (_, index) => aRecord(first + index, atNs));
    const atMs = (clockOffsetNs + Number(atNs)) / 1e6 + 5;
    const clock = { atMs, clockOffsetNs };
    batches.push({ kind: "records", name: "data_ring", ...clock, keyBytes: 0, valueBytes: 0, cpus: 0, bytes: Buffer.concat(records) });
    if (first !== 2_500) continue;
    const entries = new Uint8Array(
      new BigUint64Array(Array.from({ length: 48 }, (_, word) => (word % 3 === 0 ? BigInt(word / 3) : 7n))).buffer,
    );
    batches.push({ kind: "entries", name: "losses", ...clock, keyBytes: 8, valueBytes: 8, cpus: 2, bytes: entries });
  }
  const last = batches.at(-1)!;
  return [...batches, { ...batches.find(({ kind }) => kind === "entries")!, atMs: last.atMs }];
}

probeSourceConformance("recorded", async () => {
  const folder = await temporaryFolder();
  const file = join(folder.path, "kernel.hwk");
  const writer = new ProbeRecordWriter(file, { eventVersion: 1, startedAtMs: 0, kernel: "6.18" });
  for (const batch of sampleBatches()) writer.add(batch);
  await writer.close();
  return { source: new RecordedSource(file), produce: async () => undefined, remove: folder.remove };
});

if (noKernelPrograms !== null) {
  console.warn(`the kernel as a source is not tested: ${noKernelPrograms}`);
  describe("ProbeSource: kernel", () => {
    it.skip(noKernelPrograms ?? "", () => undefined);
  });
} else {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let object: { name: string; path: string };
  beforeAll(async () => {
    folder = await temporaryFolder();
    object = compileObject("bpf/generator.bpf.c", folder.path);
  });
  afterAll(() => folder.remove());

  for (const by of ["timer", "wake"] as const) {
    probeSourceConformance(`kernel, read by ${by}`, async () => {
      const source = await openGeneratorSource({ object, by });
      const produce = async (records: number) => {
        const { context } = await source.runProgram("generate", generatorContext({ first: 0, count: records, wake: 2 }));
        expect(generated(context)).toEqual({ written: records, lost: 0 });
      };
      return { source, produce, remove: async () => undefined };
    });
  }

  it("a recording of the kernel gives the same batches again", async () => {
    const file = join(folder.path, "kernel.hwk");
    const writer = new ProbeRecordWriter(file, { eventVersion: 1, startedAtMs: Date.now(), kernel: "here" });
    const kernel = await openGeneratorSource({ object, by: "timer" });
    await kernel.runProgram("generate", generatorContext({ first: 0, count: 1_000, wake: 0 }));
    const source = recordedWhileRead(kernel, writer);
    const live: ProbeBatch[] = [];
    while (!live.some(({ kind }) => kind === "entries") || !live.some(({ kind }) => kind === "records")) {
      const batch = await source.next();
      if (batch !== null) live.push({ ...batch, bytes: new Uint8Array(batch.bytes) });
    }
    await source.close();
    await writer.close();
    expect(writer.dropped).toBe(0);
    const recorded = new RecordedSource(file);
    const replayed: ProbeBatch[] = [];
    for (let batch = await recorded.next(); batch !== null; batch = await recorded.next()) replayed.push(batch);
    expect(replayed).toEqual(live);
  });
}
