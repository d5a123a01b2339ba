import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ProbeBatch } from "../../../contract/port.ts";
import { decodeLosses } from "../../../services/agent/decode-counters.ts";
import { eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import { type MapReading, takenOut, whenAsked } from "../../../services/agent/kernel-message.ts";
import { type KernelSource, openKernelSource, readerBounds } from "../../../services/agent/kernel-source.ts";
import { encodeSettings, quietSettings } from "../../../services/agent/probe-settings.ts";
import { temporaryFolder } from "../../conformance/temporary.ts";
import { compileObject, noKernelPrograms } from "../../native/bpf-object.ts";
import { startFromTypeScript } from "./typescript-worker.ts";

const suite = noKernelPrograms === null ? describe : describe.skip;
if (noKernelPrograms !== null) console.warn(`the bounds of maps and rings are not tested: ${noKernelPrograms}`);

const rowsMax = 32;
/** Short connections from many addresses, each with one request. */
const connections = `
const net = require("node:net");
const server = net.createServer((socket) => socket.on("data", () => socket.end("HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")).on("error", () => {}));
server.listen(0, "0.0.0.0", async () => {
  const { port } = server.address();
  for (let round = 0; round < 20; round += 1) {
    await Promise.all(Array.from({ length: 100 }, (_, place) => new Promise((resolve) => {
      const socket = net.connect({ port, host: "127.0.0.1", localAddress: "127.0.1." + (place + 1) });
      socket.on("connect", () => socket.write("GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")).on("error", () => {}).on("close", resolve).resume();
    })));
  }
  process.exit(0);
});`;
const execs = "for each in 1 2 3 4 5 6 7 8 9 10; do for one in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do /bin/true; done; done";

suite(`what maps and rings do not hold${noKernelPrograms === null ? "" : `: ${noKernelPrograms}`}`, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let source: KernelSource | null = null;
  const objects: { name: string; path: string }[] = [];
  beforeAll(async () => {
    folder = await temporaryFolder();
    for (const name of ["connection", "request", "process", "schedule"]) objects.push(compileObject(`bpf/${name}.bpf.c`, folder.path));
  }, 30_000);
  afterAll(() => folder.remove());
  afterEach(async () => {
    await source?.close();
    source = null;
  });

  async function open(maps: readonly MapReading[]): Promise<KernelSource> {
    const bytes = encodeSettings({ ...quietSettings, level: 2, selfTgid: process.pid });
    const opened = await openKernelSource(
      {
        objects,
        programs: null,
        ringBytes: { data_ring: 4_096, lifecycle_ring: 4_096 },
        mapEntriesMax: { flows: rowsMax, schedules: rowsMax },
        settings: Object.fromEntries(objects.map(({ name }) => [name, bytes])),
        // Nobody reads the rings, so that they are full at once.
        rings: [],
        maps,
        iterators: [],
        ...readerBounds,
      },
      startFromTypeScript,
    );
    if (!opened.ok) throw new Error(opened.reason);
    source = opened.source;
    return opened.source;
  }

  async function run(command: string, ...args: string[]): Promise<void> {
    const [code] = await once(spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] }), "exit");
    expect(code).toBe(0);
  }

  async function read(from: KernelSource, names: readonly string[]): Promise<Map<string, ProbeBatch>> {
    const found = new Map<string, ProbeBatch>();
    // Asking for the next batch gives the buffer of the last one back, without which its map is not read.
    let next = from.next();
    const told = from.readNow();
    for (;;) {
      const batch = await next;
      if (batch === null) throw new Error("the source ended");
      found.set(batch.name, { ...batch, bytes: batch.bytes.slice() });
      if (names.every((name) => found.has(name))) break;
      next = from.next();
    }
    await told;
    return found;
  }

  const rowsOf = ({ bytes, keyBytes, valueBytes, cpus }: ProbeBatch) => bytes.length / (keyBytes + valueBytes * cpus);

  it("is counted where it happened; what there is room for stays, and no more", async () => {
    const names = ["losses", "flows", "schedules"];
    const from = await open(names.map((name) => ({ name, everyMs: whenAsked })));
    await Promise.all([run(process.execPath, "-e", connections), run("sh", "-c", execs)]);
    const found = await read(from, names);
    const losses = decodeLosses(found.get("losses") ?? expect.fail("no losses"));
    for (const where of ["FLOWS", "SCHEDULES", "LIFECYCLE_RING", "DATA_RING"] as const) {
      expect([where, losses?.get(eventNumbers[`HW_LOSS_${where}`])]).toEqual([where, expect.toSatisfy((count: number) => count > 100)]);
    }
    for (const name of ["flows", "schedules"]) expect([name, rowsOf(found.get(name) ?? expect.fail(name))]).toEqual([name, rowsMax]);
  }, 15_000);

  it("finds room again: rows of what is over are taken out after a while", async () => {
    const from = await open([{ name: "schedules", everyMs: whenAsked, idleReadings: 2 }]);
    await run("sh", "-c", execs);
    const gone = takenOut("schedules");
    expect(rowsOf((await read(from, ["schedules"])).get("schedules") ?? expect.fail("no rows"))).toBe(rowsMax);
    await read(from, ["schedules"]);
    const found = await read(from, ["schedules", gone]);
    const taken = rowsOf(found.get(gone) ?? expect.fail("nothing was taken out"));
    expect(taken).toBeGreaterThan(rowsMax / 2);
    expect((await from.counts()).entriesTakenOut).toBe(taken);
    await run("sh", "-c", execs);
    expect(rowsOf((await read(from, ["schedules"])).get("schedules") ?? expect.fail("no rows"))).toBeGreaterThan(rowsMax - taken);
  }, 15_000);
});
