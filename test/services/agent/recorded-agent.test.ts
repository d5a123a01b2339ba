import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ProbeBatch } from "../../../contract/port.ts";
import { CgroupFiles } from "../../../services/agent/cgroup-files.ts";
import { PacedSource } from "../../../services/agent/paced-source.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { ProbeRecordWriter, recordedWhileRead } from "../../../services/agent/record-writer.ts";
import { RecordedProcesses, RecordingProcesses, withoutProcesses } from "../../../services/agent/recorded-processes.ts";
import { RecordedSource } from "../../../services/agent/recorded-source.ts";
import { ManualClock } from "../../../services/platform.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { merged, partialsOf } from "../../native/reduced.ts";
import { agentOf, batchesOf, bootMs, entries, ListSource, makeProc, rawHttp, rawOpened, records, type SentBody } from "./agent-world.ts";

const folder = useTemporaryFolder();

const server = { cookie: 2, role: "server", tgid: 200, local: "10.0.0.2:80", remote: "10.0.0.1:4000" } as const;

function batches(): ProbeBatch[] {
  const turn = (at: number) =>
    rawHttp(server, { request: "GET /a", status: 200, startMs: 1_100 + at, endMs: 1_101 + at, sequence: at + 1 });
  return [
    records("lifecycle_ring", 1_001, [rawOpened(server, 1_000)]),
    records(
      "data_ring",
      1_400,
      Array.from({ length: 20 }, (_, at) => turn(at)),
    ),
    entries("losses", 2_400, [], { keyBytes: 8, valueBytes: 8 }),
  ];
}

function counts(sent: readonly SentBody[], receivedAtMs: number): string[] {
  const partials = partialsOf(merged(batchesOf(sent, receivedAtMs), { windowMs: 1_000 }));
  return partials.flatMap((one) => (one.kind === "duration" ? [`${one.entity} ${one.attributes} ${one.count}`] : []));
}

async function record(file: string): Promise<SentBody[]> {
  const proc = join(folder.path, "proc");
  makeProc(proc, [{ pid: 200, command: "node", environment: { OTEL_SERVICE_NAME: "cart" } }]);
  const writer = new ProbeRecordWriter(file, { eventVersion: 1, startedAtMs: bootMs, kernel: "6.18" });
  const processes = new RecordingProcesses(new ProcessFiles(proc), { write: (batch) => writer.add(batch), nowMs: () => bootMs });
  const { agent, sent } = agentOf(recordedWhileRead(new ListSource(batches()), writer), proc, { places: placesOf(processes) });
  await agent.run();
  await writer.close();
  rmSync(proc, { recursive: true });
  return sent;
}

function placesOf(processes: RecordingProcesses | RecordedProcesses) {
  return {
    processes,
    cgroups: new CgroupFiles(join(folder.path, "no-cgroups")),
    interfaceNames: () => ({ netns: 0, names: new Map<number, string>() }),
    dropReasons: new Map<number, string>(),
  };
}

describe("a recorded agent", () => {
  it("tells the same of services when its processes are long gone", async () => {
    const file = join(folder.path, "kernel.hwp");
    const live = await record(file);
    const processes = await RecordedProcesses.read(new RecordedSource(file));
    expect(processes.facts(200)?.environment.get("OTEL_SERVICE_NAME")).toBe("cart");
    const replayed = agentOf(withoutProcesses(new RecordedSource(file)), folder.path, { places: placesOf(processes) });
    await replayed.agent.run();
    expect(counts(live, bootMs + 3_000)).toEqual(["cart operation=GET /a 20"]);
    expect(counts(replayed.sent, bootMs + 3_000)).toEqual(["cart operation=GET /a 20"]);
    expect(await replayed.platform.metrics.registry.metrics()).not.toContain("map-unreadable");
  });

  it("passes over what it cannot read of processes", async () => {
    const damaged = { ...entries("proc", 1, [Buffer.from("{no json")], { keyBytes: 0, valueBytes: 0 }) };
    const processes = await RecordedProcesses.read(new ListSource([damaged, ...batches()]));
    expect([processes.facts(1), processes.startTicks(1), processes.usage()]).toEqual([null, null, null]);
  });

  it("can be sent as if it happened now, at its own pace", async () => {
    const clock = new ManualClock(bootMs + 50_000_000);
    const paced = new PacedSource(new ListSource(batches()), clock);
    const first = await paced.next();
    expect(first?.atMs).toBe(bootMs + 50_000_000);
    expect((first?.atMs ?? 0) - (first?.clockOffsetNs ?? 0) / 1e6).toBeCloseTo(1_001, 0);
    let second: ProbeBatch | null = null;
    const waiting = paced.next().then((batch) => {
      second = batch;
    });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advanceTo(bootMs + 50_000_398);
    await new Promise((resolve) => setImmediate(resolve));
    expect(second).toBeNull();
    clock.advanceTo(bootMs + 50_000_399);
    await waiting;
    expect(second).toMatchObject({ atMs: bootMs + 50_000_399 });
    const last = paced.next();
    await paced.close();
    expect(await last).toBeNull();
  });
});
