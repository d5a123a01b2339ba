/** Run as `node --import tsx writer.ts <port> <directory>`: writes for ever and prints the number of each write that was acknowledged. */
import { writeSync } from "node:fs";
import { SystemClock } from "../../services/platform.ts";
import type { WriterPort } from "./killed-writer.ts";
import { anEntity, aTelemetryAppend, aTelemetryBatch, aWindowEntry } from "./sample-messages.ts";

const [port, directory] = process.argv.slice(2) as [WriterPort, string];
const base = { clock: new SystemClock(), onCounted: () => undefined };

/** How to make the n-th write of each port; the adapter alone is loaded, so that the process starts quickly. */
const writers: Record<WriterPort, () => Promise<(n: number) => Promise<unknown>>> = {
  queue: async () => {
    const { openMemoryQueue } = await import("../../services/queue/memory-queue.ts");
    const queue = await openMemoryQueue({ ...base, directory, segmentBytesMax: 65_536 });
    return (n) => queue.publish("telemetry", aTelemetryBatch(`w-${n}`, 1_000));
  },
  "partition-log": async () => {
    const { openFilePartitionLog } = await import("../../services/log/file-log.ts");
    const log = await openFilePartitionLog({ ...base, directory, segmentBytesMax: 65_536 });
    const entries = (n: number) =>
      [n % 16, (n + 5) % 16, (n + 11) % 16].map((partition) => ({ topic: "window" as const, partition, value: aWindowEntry(`w-${n}`) }));
    return (n) => log.append(entries(n), { reduced: [`w-${n}`] });
  },
  "graph-store": async () => {
    const { openMemoryGraphStore } = await import("../../graph/memory/memory-graph-store.ts");
    const graph = await openMemoryGraphStore({ ...base, directory, journalBytesMax: 65_536 });
    return (n) => graph.apply({ partition: n % 16, completeThroughMs: n, entities: [anEntity(`e-${n}`, { seenMs: n })], dependencies: [] });
  },
  "event-store": async () => {
    const { openSqliteEventStore } = await import("../../store/sqlite/sqlite-event-store.ts");
    const store = await openSqliteEventStore({ ...base, file: `${directory}/events.sqlite` });
    return (n) => store.append(`stream/${n}`, [{ n }, { n, second: true }], { expectedSequence: 0 });
  },
  "telemetry-store": async () => {
    const { openDuckdbTelemetryStore } = await import("../../store/duckdb/duckdb-telemetry-store.ts");
    const store = await openDuckdbTelemetryStore({ ...base, directory, tenant: "default" });
    return (n) => store.append([aTelemetryAppend(n)]);
  },
};

const write = await writers[port]();
let next = 0;

async function writeForEver(): Promise<never> {
  for (;;) {
    const n = next;
    next += 1;
    await write(n);
    tell(`${n}\n`);
  }
}

/** Synchronous, so that what was printed is never less than what the process believed at its end by more than these writers. */
function tell(line: string): void {
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      // The pipe is full because its reader is busy.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

/** Why a writer ended is told in case the process is not killed after all. */
function waitForEver(error: unknown): Promise<never> {
  writeSync(2, `${String(error)}\n`);
  return new Promise(() => undefined);
}

// Nobody is left to kill this process when the test that started it is gone.
setTimeout(() => process.exit(1), 60_000);

// The bound of the telemetry queue ends its writer with QUEUE_FULL; waiting is all that is left then.
await Promise.all(Array.from({ length: 8 }, () => writeForEver().catch(waitForEver)));
