/** Programs in the kernel for a measurement: chosen objects, read as the agent reads them. */
import { HeadwaterError } from "../../contract/error.ts";
import type { ProbeBatch } from "../../contract/port.ts";
import { builtObjectPath } from "../../native/kernel-probe.ts";
import { decodeLosses } from "../../services/agent/decode-counters.ts";
import { eventLayout } from "../../services/agent/event-layout.generated.ts";
import type { MapReading, RingReading } from "../../services/agent/kernel-message.ts";
import { type KernelSource, openKernelSource, readerBounds } from "../../services/agent/kernel-source.ts";
import { encodeSettings, type ProbeSettings, quietSettings } from "../../services/agent/probe-settings.ts";

export interface OpenKernelOptions {
  readonly objects: readonly string[];
  readonly settings?: Partial<ProbeSettings>;
  readonly rings: readonly RingReading[];
  readonly ringBytes?: Readonly<Record<string, number>>;
  readonly maps?: readonly MapReading[];
  readonly onBatch: (batch: ProbeBatch) => void;
}

const lossesEveryMs = 100;

/** Where the set-up step put an object. Throws LAB_FAILED where it is not built. */
export function objectOf(name: string): { name: string; path: string } {
  const path = builtObjectPath(name);
  if (path === null) throw new HeadwaterError("LAB_FAILED", `${name}.bpf.o is not built: node scripts/setup.mjs --kernel`);
  return { name, path };
}

/** Programs that run and are read until `close`. */
export class BenchKernel {
  readonly source: KernelSource;
  readonly #work: Promise<void>;
  #lost = 0;

  private constructor(source: KernelSource, onBatch: (batch: ProbeBatch) => void) {
    this.source = source;
    this.#work = this.#read(onBatch);
  }

  static async open(options: OpenKernelOptions): Promise<BenchKernel> {
    const { objects, rings, ringBytes = {}, maps = [], settings, onBatch } = options;
    const bytes = encodeSettings({ ...quietSettings, selfTgid: process.pid, ...settings });
    const opened = await openKernelSource({
      ...readerBounds,
      ...{ objects: objects.map(objectOf), programs: null, ringBytes, mapEntriesMax: {}, rings },
      settings: Object.fromEntries(objects.map((name) => [name, bytes])),
      maps: [...maps, { name: "losses", everyMs: lossesEveryMs }],
      iterators: ["hw_list_listeners", "hw_list_connections"].map((program) => ({
        program,
        recordBytes: eventLayout.connection.structBytes,
      })),
    });
    if (!opened.ok) throw new HeadwaterError("LAB_FAILED", `the kernel cannot be read: ${opened.reason}`);
    return new BenchKernel(opened.source, onBatch);
  }

  /** Records that the kernel could not hand over, by now. */
  async lost(): Promise<number> {
    await this.source.readNow();
    return this.#lost;
  }

  async close(): Promise<void> {
    await this.source.close();
    await this.#work;
  }

  async #read(onBatch: (batch: ProbeBatch) => void): Promise<void> {
    for (let batch = await this.source.next(); batch !== null; batch = await this.source.next()) {
      if (batch.name === "losses") this.#lost = [...(decodeLosses(batch) ?? [])].reduce((sum, [, count]) => sum + count, 0);
      else onBatch(batch);
    }
  }
}
