import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ProbeBatch } from "../../../contract/port.ts";
import { type KernelSource, openKernelSource } from "../../../services/agent/kernel-source.ts";
import { temporaryFolder, until } from "../../conformance/temporary.ts";
import { compileObject, generated, generatedNumbers, generatorContext, noKernelPrograms } from "../../native/bpf-object.ts";
import { openGeneratorSource } from "./generator-source.ts";

const nothing = {
  objects: [],
  programs: null,
  ringBytes: {},
  mapEntriesMax: {},
  settings: {},
  rings: [],
  maps: [],
  iterators: [],
  batchBytes: 4_096,
  batchesInFlightMax: 1,
  mapBytesMax: 4_096,
};

it("says why there is no kernel to read when its thread says so, or when it cannot even start", async () => {
  const refusing = `require("node:worker_threads").parentPort.postMessage({ kind: "refused", reason: "no type information" })`;
  expect(await openKernelSource(nothing, () => new Worker(refusing, { eval: true }))).toEqual({ ok: false, reason: "no type information" });
  const failing = `throw new Error("out of order")`;
  expect(await openKernelSource(nothing, () => new Worker(failing, { eval: true }))).toMatchObject({
    ok: false,
    reason: expect.stringContaining("out of order"),
  });
});

const suite = noKernelPrograms === null ? describe : describe.skip;
if (noKernelPrograms !== null) console.warn(`the thread that reads the kernel is not tested: ${noKernelPrograms}`);

suite(`KernelSource${noKernelPrograms === null ? "" : `: ${noKernelPrograms}`}`, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let object: { name: string; path: string };
  let counting: { name: string; path: string };
  let source: KernelSource | null = null;
  beforeAll(async () => {
    folder = await temporaryFolder();
    object = compileObject("bpf/generator.bpf.c", folder.path);
    counting = compileObject("test/native/bpf/counting.bpf.c", folder.path);
  });
  afterAll(() => folder.remove());
  afterEach(async () => {
    await source?.close();
    source = null;
  });

  async function recordsOf(from: KernelSource, count: number): Promise<number[]> {
    const numbers: number[] = [];
    while (numbers.length < count) {
      const batch: ProbeBatch | null = await from.next();
      if (batch === null) break;
      if (batch.kind === "records") numbers.push(...generatedNumbers(batch.bytes));
    }
    return numbers;
  }

  it("leaves in the ring what its reader does not take, and the kernel counts what the ring has no room for", async () => {
    source = await openGeneratorSource({ object, by: "timer", ringBytes: 262_144, batchBytes: 13_600, batchesInFlightMax: 2 });
    const { context } = await source.runProgram("generate", generatorContext({ first: 0, count: 10_000, wake: 0 }));
    const { written, lost } = generated(context);
    expect(written + lost).toBe(10_000);
    expect(lost).toBeGreaterThan(0);
    const reader = source;
    await until("both buffers are with the reader", async () => (await reader.counts()).ringsPaused > 3);
    expect((await source.counts()).batches).toBeLessThan(20);
    expect(await recordsOf(source, written)).toEqual(Array.from({ length: written }, (_, index) => index));
  });

  it("uses its buffers again and again", async () => {
    source = await openGeneratorSource({ object, by: "wake", batchBytes: 13_600, batchesInFlightMax: 2 });
    for (let round = 0; round < 20; round += 1) {
      await source.runProgram("generate", generatorContext({ first: round * 500, count: 500, wake: 2 }));
      expect(await recordsOf(source, 500)).toEqual(Array.from({ length: 500 }, (_, index) => round * 500 + index));
    }
    expect(await source.counts()).toMatchObject({ readsFailed: 0, dumpsCut: 0, iteratorsCut: 0 });
  });

  it("skips a map that was not taken yet, and reads all when told to", async () => {
    source = await openGeneratorSource({ object, by: "timer" });
    const reader = source;
    await until("dumps are skipped", async () => (await reader.counts()).dumpsSkipped > 2);
    expect((await source.next())?.name).toBe("losses");
    const waiting = source.next();
    await source.readNow();
    expect((await waiting)?.name).toBe("losses");
  });

  it("answers calls: settings, attaching, programs; and says what the kernel refused", async () => {
    const opened = await openGeneratorSource({ object: counting, by: "timer" });
    source = opened;
    const programs = await source.programs();
    expect(programs.filter(({ attached }) => attached).map(({ name }) => name)).toEqual(["count_calls", "tell_calls"]);
    expect(programs.find(({ name }) => name === "broken")?.reason).toMatch(/^the verifier refused it/);
    await source.detach("tell_calls");
    expect((await source.attach("tell_calls")).attached).toBe(true);
    await source.countRuns("on");
    await until("a program ran", async () => ((await opened.programs()).find(({ name }) => name === "count_calls")?.runCount ?? 0) > 0);
    await source.countRuns("off");
    expect(await source.objects()).toMatchObject([{ name: "counting", errno: 0 }]);
    await source.updateMap("counts", new Uint8Array(4), new Uint8Array(8));
    await source.deleteFromMap("counts", new Uint8Array(4));
    await source.writeSettings("counting", new Uint8Array(8));
    await expect(source.writeSettings("nothing", new Uint8Array(8))).rejects.toMatchObject({
      code: "KERNEL_UNAVAILABLE",
      message: "the kernel cannot be observed: there is no object nothing",
    });
    await expect(source.updateMap("counts", new Uint8Array(5), new Uint8Array(8))).rejects.toThrow("wants 4 bytes, not 5");
    expect(await source.runIterator({ program: "broken", recordBytes: 8 })).toBeNull();
    const records = await source.runIterator({ program: "list_tasks", recordBytes: 8 });
    expect(records).toBeGreaterThan(2);
    let batch = await source.next();
    while (batch !== null && batch.name !== "list_tasks") batch = await source.next();
    expect(batch).toMatchObject({ kind: "records", keyBytes: 0, cpus: 0 });
    expect(batch?.bytes.length).toBe((records ?? 0) * 16);
  });

  it("runs what brings a map up to date before it reads the map", async () => {
    const key = new Uint8Array(new BigUint64Array([3n]).buffer);
    source = await openGeneratorSource({
      object: counting,
      by: "timer",
      maps: [{ name: "counts", everyMs: 20, before: { program: "count_shared", map: "shared" } }],
    });
    await source.updateMap("shared", key, new Uint8Array(new BigUint64Array([77n]).buffer));
    let batch = await source.next();
    while (batch !== null && batch.bytes.length === 0) batch = await source.next();
    expect(batch?.name).toBe("counts");
    expect([...new BigUint64Array(new Uint8Array(batch?.bytes ?? []).buffer)]).toContain(77n);
  });

  it("ends a waiting reader when it is closed, and refuses calls afterwards", async () => {
    source = await openGeneratorSource({ object: counting, by: "timer" });
    const waiting = source.next();
    await source.close();
    expect(await waiting).toBeNull();
    await expect(source.programs()).rejects.toMatchObject({ code: "STOPPING" });
  });
});
