import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { getuid, kill } from "node:process";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { KernelProbe, recordPrefixBytes } from "../../native/kernel-probe.ts";
import { eventLayout } from "../../services/agent/event-layout.generated.ts";
import { temporaryFolder, until } from "../conformance/temporary.ts";
import { compileObject, generated, generatedBytes, generatedNumbers, generatorContext, noKernelPrograms } from "./bpf-object.ts";

it("says in words whether programs can be run here, and never throws for it", () => {
  const able = KernelProbe.available();
  expect(able.ok ? "" : able.reason).toEqual(able.ok ? "" : expect.stringMatching(/\w+ \w+ \w+/));
});

const suite = noKernelPrograms === null ? describe : describe.skip;
if (noKernelPrograms !== null) console.warn(`the kernel addon is not tested: ${noKernelPrograms}`);

suite(`KernelProbe${noKernelPrograms === null ? "" : `: ${noKernelPrograms}`}`, () => {
  const objects = new Map<string, { name: string; path: string }>();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let probe: KernelProbe;

  beforeAll(async () => {
    folder = await temporaryFolder();
    for (const source of ["bpf/generator.bpf.c", ...["counting", "sharing", "clashing"].map((name) => `test/native/bpf/${name}.bpf.c`)]) {
      const object = compileObject(source, folder.path);
      objects.set(object.name, object);
    }
  });
  afterAll(() => folder.remove());
  beforeEach(() => {
    probe = new KernelProbe();
  });
  afterEach(() => probe.close());

  /** Without those that the kernel refuses: one of them has every program of its object loaded twice. */
  const sound = (name: string) => name !== "broken" && name !== "nowhere";

  function open(names: readonly string[], options: { ringBytes?: number; programs?: (name: string) => boolean } = {}): void {
    const ringBytes = { data_ring: options.ringBytes ?? 1_048_576 };
    const chosen = names.map((name) => objects.get(name) ?? { name, path: join(folder.path, `${name}.bpf.o`) });
    probe.open({ objects: chosen, ringBytes, mapEntriesMax: { counts: 64 }, programs: options.programs ?? sound });
  }

  function named(name: string) {
    return probe.stats().find((program) => program.name === name);
  }

  function generate(options: { first: number; count: number; wake?: 0 | 1 | 2 | 3 }): { written: number; lost: number } {
    const context = generatorContext({ wake: 0, ...options });
    expect(probe.runProgram("generate", context)).toBe(0);
    return generated(context);
  }

  function drainAll(into: ArrayBuffer): number[] {
    const numbers: number[] = [];
    for (let bytes = probe.drain("data_ring", into); bytes > 0; bytes = probe.drain("data_ring", into)) {
      numbers.push(...generatedNumbers(new Uint8Array(into, 0, bytes)));
    }
    return numbers;
  }

  const settingsFor = (tgid: number) => {
    const bytes = Buffer.alloc(eventLayout.settings.structBytes);
    bytes.writeUInt32LE(tgid, eventLayout.settings.detailTgid);
    return bytes;
  };

  it("loads each program on its own: a broken one keeps the verifier's last lines and stops none of the others", () => {
    open(["counting"], { programs: () => true });
    const programs = probe.load();
    expect(programs.filter(({ loaded }) => loaded).map(({ name }) => name)).toEqual([
      "count_calls",
      "tell_calls",
      "list_tasks",
      "count_shared",
    ]);
    const broken = named("broken");
    expect(broken).toMatchObject({ object: "counting", section: "tp_btf/sys_exit", loaded: false });
    expect(broken?.errno).toBeGreaterThan(0);
    expect(broken?.reason).toMatch(/^the verifier refused it: .*unbounded/);
    expect(broken?.verifierLog).toContain("hw_settings.detail_numbers[bpf_ktime_get_ns()]");
    expect(broken?.verifierLog).toContain("call bpf_ktime_get_ns");
    expect(named("nowhere")).toMatchObject({ loaded: false, errno: 3, reason: expect.stringContaining("No such process") });
    expect(named("nowhere")?.verifierLog).toContain("headwater_is_not_a_tracepoint");
  });

  it("leaves out programs that nobody wants, and says so", () => {
    open(["counting"], { programs: (name) => name === "list_tasks" });
    const programs = probe.load();
    expect(programs.filter(({ loaded }) => loaded).map(({ name }) => name)).toEqual(["list_tasks"]);
    expect(named("broken")).toMatchObject({ wanted: false, errno: 0, reason: "not asked for" });
  });

  it("says of an object that is no object what is wrong with it, and loads the others", () => {
    open(["missing", "generator"]);
    expect(probe.objects()).toMatchObject([
      { name: "missing", errno: 2, reason: expect.stringContaining("missing.bpf.o cannot be opened: No such file") },
      { name: "generator", errno: 0, reason: "" },
    ]);
    expect(probe.load().map(({ name, loaded }) => [name, loaded])).toEqual([["generate", true]]);
  });

  it("says when the maps of an object cannot be created", () => {
    probe.open({ objects: [objects.get("sharing")!], ringBytes: {}, mapEntriesMax: { shared: 4_294_967_295 } });
    const [program] = probe.load();
    expect(program).toMatchObject({ loaded: false, reason: expect.stringContaining("its maps cannot be created") });
    expect(program?.reason).toContain("shared");
    expect(probe.objects()[0]?.errno).toBeGreaterThan(0);
  });

  it("makes one map of two with one name, and refuses an object that defines it otherwise", () => {
    open(["counting", "sharing", "clashing"]);
    probe.load();
    const pair = new BigUint64Array([5n, 23n]);
    expect(probe.runProgram("put", new Uint8Array(pair.buffer))).toBe(7);
    const into = new ArrayBuffer(64);
    expect(probe.dumpMap("shared", into)).toEqual({ entries: 1, keyBytes: 8, valueBytes: 8, cpus: 1, left: false });
    expect([...new BigUint64Array(into, 0, 2)]).toEqual([5n, 23n]);
    expect(named("clash")).toMatchObject({ loaded: false, errno: 22 });
    expect(named("clash")?.reason).toMatch(/map shared is defined otherwise in counting .*key 8 bytes.* than here .*key 4 bytes/);
  });

  it("hands out every record once and in order however small the buffer is, and keeps what does not fit in the ring", () => {
    open(["generator"]);
    probe.load();
    expect(generate({ first: 0, count: 1_000 })).toEqual({ written: 1_000, lost: 0 });
    expect(probe.waiting("data_ring")).toBe(1_000 * generatedBytes);
    const numbers: number[] = [];
    for (const records of [1, 2, 3, 500]) {
      const into = new ArrayBuffer(records * generatedBytes + recordPrefixBytes);
      const bytes = probe.drain("data_ring", into);
      expect(bytes).toBe(records * generatedBytes);
      numbers.push(...generatedNumbers(new Uint8Array(into, 0, bytes)));
    }
    expect(probe.waiting("data_ring")).toBe((1_000 - 506) * generatedBytes);
    numbers.push(...drainAll(new ArrayBuffer(65_536)));
    expect(numbers).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
    expect(probe.waiting("data_ring")).toBe(0);
  });

  it("goes round the end of the ring many times without losing or repeating a record", () => {
    open(["generator"], { ringBytes: 4_096 });
    probe.load();
    const into = new ArrayBuffer(4_096);
    let first = 0;
    for (let round = 0; round < 2_000; round += 1) {
      const count = 1 + (round % 29);
      expect(generate({ first, count })).toEqual({ written: count, lost: 0 });
      expect(drainAll(into)).toEqual(Array.from({ length: count }, (_, index) => first + index));
      first += count;
    }
  });

  it("passes over discarded records", () => {
    open(["generator"]);
    probe.load();
    expect(generate({ first: 0, count: 100, wake: 3 }).written).toBe(50);
    expect(drainAll(new ArrayBuffer(1_000))).toEqual(Array.from({ length: 50 }, (_, index) => 2 * index));
    expect(probe.waiting("data_ring")).toBe(0);
  });

  it("loses nothing that is not counted when the ring is full", () => {
    open(["generator"], { ringBytes: 65_536 });
    probe.load();
    const { written, lost } = generate({ first: 0, count: 1_000 });
    expect(written + lost).toBe(1_000);
    expect(lost).toBeGreaterThan(400);
    expect(drainAll(new ArrayBuffer(65_536))).toEqual(Array.from({ length: written }, (_, index) => index));
    const into = new ArrayBuffer(4_096);
    const { cpus, entries } = probe.dumpMap("losses", into);
    expect(entries).toBe(16);
    const perCpu = new BigUint64Array(into, 8, cpus);
    expect(Number(perCpu.reduce((sum, value) => sum + value, 0n))).toBe(lost);
  });

  it("refuses a buffer that no record would ever fit into", () => {
    open(["generator"]);
    probe.load();
    generate({ first: 0, count: 1 });
    expect(() => probe.drain("data_ring", new ArrayBuffer(generatedBytes - 8))).toThrow(/needs a buffer of 136 bytes/);
    expect(drainAll(new ArrayBuffer(generatedBytes))).toEqual([0]);
  });

  it("waits for a record that wakes, and not longer than told when none does", () => {
    open(["generator"]);
    probe.load();
    const startedMs = performance.now();
    expect(probe.waitReadable("data_ring", 30)).toBe(false);
    expect(performance.now() - startedMs).toBeGreaterThan(25);
    generate({ first: 0, count: 1, wake: 2 });
    expect(probe.waitReadable(["data_ring"], 10_000)).toBe(true);
  });

  it("reads what a program counted for each processor, and says when the buffer is too small", () => {
    open(["counting"]);
    probe.load();
    probe.writeSettings("counting", settingsFor(process.pid));
    expect(probe.attachOne("count_calls")).toMatchObject({ attached: true, errno: 0 });
    for (let call = 0; call < 500; call += 1) getuid?.();
    probe.detach("count_calls");
    const into = new ArrayBuffer(65_536);
    const dump = probe.dumpMap("counts", into);
    expect(dump).toMatchObject({ keyBytes: 8, valueBytes: 8, left: false });
    const view = new DataView(into);
    const stride = dump.keyBytes + dump.valueBytes * dump.cpus;
    const totals = new Map<number, number>();
    for (let at = 0; at < dump.entries * stride; at += stride) {
      const values = Array.from({ length: dump.cpus }, (_, cpu) => Number(view.getBigUint64(at + 8 + cpu * 8, true)));
      totals.set(
        view.getUint32(at, true),
        values.reduce((sum, value) => sum + value, 0),
      );
    }
    const getuidNumber = 102;
    expect(totals.get(getuidNumber)).toBe(500);
    expect(probe.dumpMap("counts", new ArrayBuffer(stride))).toMatchObject({ entries: 1, left: true });
  });

  it("writes and deletes entries, on every processor where a map keeps one for each, and refuses keys of another size", () => {
    open(["counting"]);
    probe.load();
    const key = new Uint8Array(new Uint32Array([77]).buffer);
    probe.updateMap("counts", key, new Uint8Array(new BigUint64Array([9n]).buffer));
    const into = new ArrayBuffer(1_024);
    const { cpus, entries } = probe.dumpMap("counts", into);
    expect(entries).toBe(1);
    expect([...new BigUint64Array(into, 0, 1 + cpus)]).toEqual([77n, ...Array.from({ length: cpus }, () => 9n)]);
    probe.deleteFromMap("counts", key);
    probe.deleteFromMap("counts", key);
    expect(probe.dumpMap("counts", into).entries).toBe(0);
    expect(() => probe.updateMap("counts", new Uint8Array(8), new Uint8Array(8))).toThrow("map counts wants 4 bytes, not 8");
    expect(() => probe.dumpMap("nothing", into)).toThrow("no loaded object has a map nothing");
    expect(() => probe.drain("counts", into)).toThrow("no loaded object has a ring");
  });

  it("takes out what nobody writes once a quarter of a map is used, with its last words, and nothing before", () => {
    open(["counting"]);
    probe.load();
    const write = (key: number, value: bigint) => {
      probe.updateMap("counts", new Uint8Array(new Uint32Array([key]).buffer), new Uint8Array(new BigUint64Array([value]).buffer));
    };
    const into = new ArrayBuffer(65_536);
    const read = (): { entries: number; taken: number[] } => {
      const { entries, keyBytes, valueBytes, cpus } = probe.dumpMap("counts", into);
      const taken = probe.takeIdle("counts", into, 2);
      const words = new BigUint64Array(taken.buffer, 0, taken.length / 8);
      const stride = (keyBytes + valueBytes * cpus) / 8;
      const told = Array.from({ length: words.length / stride }, (_, row) => [
        Number(words[row * stride]),
        Number(words[row * stride + cpus]),
      ]);
      return { entries, taken: told.sort(([left = 0], [right = 0]) => left - right).flat() };
    };
    for (let key = 1; key <= 15; key += 1) write(key, 5n);
    for (let reading = 0; reading < 5; reading += 1) expect(read()).toEqual({ entries: 15, taken: [] });
    write(16, 7n);
    for (let reading = 1; reading <= 2; reading += 1) {
      for (let key = 3; key <= 16; key += 1) write(key, BigInt(10 + reading));
      expect(read()).toEqual({ entries: 16, taken: [] });
    }
    for (let key = 3; key <= 16; key += 1) write(key, 20n);
    expect(read()).toEqual({ entries: 16, taken: [1, 5, 2, 5] });
    expect(read()).toEqual({ entries: 14, taken: [] });
    expect(() => probe.takeIdle("shared", into, 2)).toThrow("is not what was dumped last");
  });

  it("reads a map larger than one batch of the kernel whole", () => {
    open(["sharing"]);
    probe.load();
    for (let key = 0; key < 4_096; key += 1) {
      probe.updateMap("shared", new Uint8Array(new BigUint64Array([BigInt(key)]).buffer), new Uint8Array(new BigUint64Array([1n]).buffer));
    }
    const into = new ArrayBuffer(4_096 * 16);
    expect(probe.dumpMap("shared", into)).toMatchObject({ entries: 4_096, left: false });
    expect(new Set(new BigUint64Array(into).filter((_, index) => index % 2 === 0)).size).toBe(4_096);
  });

  it("attaches and detaches one program at a time, and counts its runs while asked to", () => {
    open(["counting"]);
    probe.load();
    probe.enableStats();
    expect(
      probe
        .attach()
        .filter(({ attached }) => attached)
        .map(({ name }) => name),
    ).toEqual(["count_calls", "tell_calls"]);
    getuid?.();
    probe.detach("counting/tell_calls");
    const { runCount, runNs } = named("tell_calls")!;
    expect(runCount).toBeGreaterThan(0);
    expect(runNs).toBeGreaterThan(0);
    for (let call = 0; call < 100; call += 1) getuid?.();
    expect(named("tell_calls")).toMatchObject({ attached: false, runCount });
    expect(probe.attachOne("tell_calls")).toMatchObject({ attached: true });
    getuid?.();
    expect(named("tell_calls")?.runCount).toBeGreaterThan(runCount);
  });

  it("runs an iterator to its end, again and again", () => {
    open(["counting"]);
    probe.load();
    for (let round = 0; round < 3; round += 1) {
      const bytes = probe.runIterator("list_tasks");
      expect(bytes?.length).toBeGreaterThan(8);
      expect(Buffer.from(bytes!.subarray(0, 8)).readBigUInt64LE()).toBe(0x68656164n);
    }
    expect(probe.runIterator("broken")).toBeNull();
  });

  it("runs an iterator over the entries of a map, and says when nobody told it which", () => {
    open(["counting"]);
    probe.load();
    const numbers = (...values: number[]) => new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer);
    expect(probe.runIterator("count_shared")).toBeNull();
    expect(named("count_shared")?.reason).toContain("cannot be attached");
    for (const round of [7, 8]) {
      probe.updateMap("shared", numbers(3), numbers(round));
      expect(probe.runIterator("count_shared", "shared")).toHaveLength(0);
      const into = new ArrayBuffer(1_024);
      expect(probe.dumpMap("counts", into).entries).toBe(1);
      expect([...new BigUint64Array(into)].filter((value) => value === BigInt(round))).toHaveLength(1);
    }
    expect(() => probe.runIterator("count_shared", "none")).toThrow("no loaded object has a map none");
  });

  it("knows the kernel's clock", () => {
    const { atMs, offsetNs } = probe.clock();
    expect(Math.abs(atMs - Date.now())).toBeLessThan(1_000);
    expect(Math.abs(atMs * 1e6 - offsetNs - Number(process.hrtime.bigint()))).toBeLessThan(1e9);
  });

  it("closes twice, and leaves a probe that has nothing", () => {
    open(["counting"]);
    probe.load();
    probe.attach();
    probe.close();
    probe.close();
    expect(probe.stats()).toEqual([]);
  });

  it("leaves nothing in the kernel when its process is killed", async () => {
    const path = objects.get("counting")!.path;
    const script = `import { KernelProbe } from "./native/kernel-probe.ts";
      const probe = new KernelProbe();
      const programs = (name) => name.endsWith("_calls");
      probe.open({ objects: [{ name: "counting", path: ${JSON.stringify(path)} }], ringBytes: {}, mapEntriesMax: {}, programs });
      probe.load();
      process.stdout.write(JSON.stringify(probe.attach().filter(({ attached }) => attached).length));
      setInterval(() => probe, 1000);`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      cwd: join(import.meta.dirname, "../.."),
    });
    try {
      let said = "";
      child.stdout.on("data", (bytes: Buffer) => {
        said += bytes.toString();
      });
      await until("the child has attached", () => said !== "", 20_000);
      expect(said).toBe("2");
      const ids = programsOf(child.pid!);
      expect(ids.length).toBeGreaterThanOrEqual(2);
      expect(ids.every(isProgram)).toBe(true);
      kill(child.pid!, "SIGKILL");
      await until("the kernel has let go of its programs", () => !ids.some(isProgram));
    } finally {
      child.kill("SIGKILL");
    }
  });
});

/** Ids of the programs that a process holds, as its open files tell. */
function programsOf(pid: number): number[] {
  const files = readdirSync(`/proc/${pid}/fd`).filter((file) => readlinkSync(`/proc/${pid}/fd/${file}`).includes("bpf-prog"));
  return files.map((file) => Number(/^prog_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${file}`, "utf8"))?.[1]));
}

function isProgram(id: number): boolean {
  return spawnSync("bpftool", ["prog", "show", "id", String(id)]).status === 0;
}
