/** What /proc said of processes while a recording was made, kept in it: a replay happens on another machine, or in another hour. */
import { z } from "zod";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";
import type { ProcessFacts, ProcessReader, ProcessUsage } from "./process-files.ts";

/** Name of the batches that hold them; no map and no ring has it. */
const batchName = "proc";
const recordsPerPidMax = 100;

const RecordedFacts = z.object({
  pid: z.number().int().positive(),
  parent: z.number().int(),
  command: z.string().max(64),
  startTicks: z.number(),
  unified: z.string(),
  byController: z.array(z.tuple([z.string(), z.string()])),
  environment: z.array(z.tuple([z.string(), z.string()])),
});

/** Passes on what `/proc` says, and has it written down. */
export class RecordingProcesses implements ProcessReader {
  readonly #inner: ProcessReader;
  readonly #write: (batch: ProbeBatch) => void;
  readonly #nowMs: () => number;

  constructor(inner: ProcessReader, options: { readonly write: (batch: ProbeBatch) => void; readonly nowMs: () => number }) {
    this.#inner = inner;
    this.#write = options.write;
    this.#nowMs = options.nowMs;
  }

  facts(pid: number): ProcessFacts | null {
    const facts = this.#inner.facts(pid);
    if (facts === null) return null;
    const { parent, command, startTicks, cgroups, environment } = facts;
    const json = { pid, parent, command, startTicks, unified: cgroups.unified, byController: [...cgroups.byController] };
    const bytes = new TextEncoder().encode(JSON.stringify({ ...json, environment: [...environment] }));
    this.#write({ kind: "entries", name: batchName, atMs: this.#nowMs(), clockOffsetNs: 0, keyBytes: 0, valueBytes: 0, cpus: 0, bytes });
    return facts;
  }

  startTicks(pid: number): number | null {
    return this.#inner.startTicks(pid);
  }

  usage(pid: number): ProcessUsage | null {
    return this.#inner.usage(pid);
  }
}

/** What a recording holds of processes, in the order in which it was asked for. */
export class RecordedProcesses implements ProcessReader {
  readonly #facts = new Map<number, ProcessFacts[]>();

  /** Reads a recording to its end; what of it is not about processes is passed over, what cannot be read as well. */
  static async read(source: ProbeSource): Promise<RecordedProcesses> {
    const processes = new RecordedProcesses();
    for (let batch = await source.next(); batch !== null; batch = await source.next()) {
      if (batch.name === batchName) processes.#add(batch);
    }
    return processes;
  }

  facts(pid: number): ProcessFacts | null {
    const list = this.#facts.get(pid);
    return (list !== undefined && list.length > 1 ? list.shift() : list?.[0]) ?? null;
  }

  startTicks(pid: number): number | null {
    return this.#facts.get(pid)?.[0]?.startTicks ?? null;
  }

  usage(): ProcessUsage | null {
    return null;
  }

  #add(batch: ProbeBatch): void {
    const read = RecordedFacts.safeParse(parsed(new TextDecoder().decode(batch.bytes)));
    if (!read.success) return;
    const { pid, parent, command, startTicks, unified, byController, environment } = read.data;
    const cgroups = { unified, byController: new Map(byController) };
    const list = this.#facts.get(pid) ?? [];
    if (list.length < recordsPerPidMax) list.push({ parent, command, startTicks, cgroups, environment: new Map(environment) });
    this.#facts.set(pid, list);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The recording without its batches about processes. */
export function withoutProcesses(source: ProbeSource): ProbeSource {
  return {
    async next() {
      let batch = await source.next();
      while (batch !== null && batch.name === batchName) batch = await source.next();
      return batch;
    },
    close: () => source.close(),
  };
}
