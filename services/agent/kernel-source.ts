/** The kernel of this machine as a ProbeSource: the main thread's end of `kernel-worker.ts`. */
import { Worker } from "node:worker_threads";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";
import type { Privileges, ProbeObjectInfo, ProgramInfo } from "../../native/kernel-probe.ts";
import type {
  BufferOwner,
  FromKernelReader,
  IteratorReading,
  KernelCall,
  KernelReaderCounts,
  KernelReaderOptions,
  ObjectSettings,
  ToKernelReader,
} from "./kernel-message.ts";

/** Bounds of the reading thread that suit an agent: at most 8 MiB of records are under way. */
export const readerBounds = { batchBytes: 1_048_576, batchesInFlightMax: 8, mapBytesMax: 16_777_216 } as const;

/** The thread's own heap; buffers are outside of it. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };

/** A source, or why this machine has none, in words for people. */
export type OpenedKernel = { readonly ok: true; readonly source: KernelSource } | { readonly ok: false; readonly reason: string };

/** Starts the thread with its options; another way than the default is for whoever runs from TypeScript. */
export type StartWorker = (options: KernelReaderOptions) => Worker;

const startCompiled: StartWorker = (options) =>
  new Worker(new URL("./kernel-worker.js", import.meta.url), { workerData: options, resourceLimits });

interface Received {
  readonly batch: ProbeBatch;
  readonly buffer: ArrayBuffer;
  readonly owner: BufferOwner;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: HeadwaterError) => void;
}

/** Loads, attaches and begins to read. Programs that the kernel refuses are told by `programs`; the others work. */
export function openKernelSource(options: KernelReaderOptions, startWorker: StartWorker = startCompiled): Promise<OpenedKernel> {
  const worker = startWorker(options);
  return new Promise((resolve) => {
    const source = new KernelSource(worker, (message) => {
      if (message.kind === "ready") resolve({ ok: true, source });
      else if (message.kind === "refused") void source.close().then(() => resolve({ ok: false, reason: message.reason }));
    });
    worker.once("error", (error: unknown) => resolve({ ok: false, reason: `the thread that reads the kernel ended: ${textOf(error)}` }));
  });
}

/** What the addon or the kernel refuses, for whoever cannot go on without it. */
export function kernelUnavailable(reason: string): HeadwaterError {
  return new HeadwaterError("KERNEL_UNAVAILABLE", `the kernel cannot be observed: ${reason}`);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Open until `close`; everything that it attached ends with it, or with the process. */
export class KernelSource implements ProbeSource {
  readonly #worker: Worker;
  readonly #onStart: (message: FromKernelReader) => void;
  readonly #ended: Promise<void>;
  readonly #received: Received[] = [];
  readonly #calls = new Map<number, Pending>();
  #callsMade = 0;
  #held: Received | null = null;
  #waiting: { resolve: (batch: ProbeBatch | null) => void; reject: (error: HeadwaterError) => void } | null = null;
  #failure: HeadwaterError | null = null;
  #isEnded = false;
  #isClosed = false;

  /** Use `openKernelSource`. */
  constructor(worker: Worker, onStart: (message: FromKernelReader) => void) {
    this.#worker = worker;
    this.#onStart = onStart;
    worker.on("message", (message: FromKernelReader) => this.#receive(message));
    worker.on("error", (error: unknown) => {
      this.#failure = new HeadwaterError("INTERNAL", `the thread that reads the kernel ended: ${textOf(error)}`, { cause: error });
    });
    this.#ended = new Promise((resolve) => {
      worker.on("exit", () => {
        this.#end();
        resolve();
      });
    });
  }

  next(): Promise<ProbeBatch | null> {
    invariant(this.#waiting === null, "one call of next at a time");
    this.#giveBack();
    const received = this.#isClosed ? undefined : this.#received.shift();
    if (received !== undefined) {
      this.#held = received;
      return Promise.resolve(received.batch);
    }
    if (this.#failure !== null && !this.#isClosed) return Promise.reject(this.#failure);
    if (this.#isEnded || this.#isClosed) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting?.resolve(null);
    this.#waiting = null;
    this.#received.length = 0;
    this.#held = null;
    if (!this.#isEnded) this.#post({ kind: "close" });
    await this.#ended;
  }

  /** Batches that came and were not taken yet. */
  get waiting(): number {
    return this.#received.length;
  }

  /** Every program of every object, with the kernel's own counts of runs while `countRuns` is on. */
  programs(): Promise<readonly ProgramInfo[]> {
    return this.#call({ method: "programs" }) as Promise<readonly ProgramInfo[]>;
  }

  objects(): Promise<readonly ProbeObjectInfo[]> {
    return this.#call({ method: "objects" }) as Promise<readonly ProbeObjectInfo[]>;
  }

  counts(): Promise<KernelReaderCounts> {
    return this.#call({ method: "counts" }) as Promise<KernelReaderCounts>;
  }

  /** Reads all rings and maps at once; resolves when the batches are on their way, in front of the answer. */
  async readNow(): Promise<void> {
    await this.#call({ method: "readNow" });
  }

  attach(program: string): Promise<ProgramInfo> {
    return this.#call({ method: "attach", program }) as Promise<ProgramInfo>;
  }

  async detach(program: string): Promise<void> {
    await this.#call({ method: "detach", program });
  }

  /** Attaches programs for a while, with settings of their own; what follows is the thread's own matter. */
  async attachFor(pulse: { readonly programs: readonly string[]; readonly ms: number; readonly settings: ObjectSettings }): Promise<void> {
    await this.#call({ method: "attachFor", ...pulse });
  }

  /**
   * For good: the reading thread keeps `here` of its rights, all other threads of this process `elsewhere`. Masks of capabilities.
   */
  dropPrivileges(keep: { readonly here: bigint; readonly elsewhere: bigint }): Promise<Privileges> {
    return this.#call({ method: "dropPrivileges", ...keep }) as Promise<Privileges>;
  }

  /** What it writes comes as a batch of records of its name; answers how many, null when the kernel refused it. */
  runIterator(iterator: IteratorReading): Promise<number | null> {
    return this.#call({ method: "runIterator", ...iterator }) as Promise<number | null>;
  }

  /** Runs a program of section `syscall` once; the context comes back as the program left it. */
  runProgram(program: string, context: Uint8Array): Promise<{ readonly returned: number; readonly context: Uint8Array }> {
    return this.#call({ method: "runProgram", program, context }) as Promise<{ returned: number; context: Uint8Array }>;
  }

  async writeSettings(object: string, bytes: Uint8Array): Promise<void> {
    await this.#call({ method: "writeSettings", object, bytes });
  }

  async updateMap(map: string, key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.#call({ method: "updateMap", map, key, value });
  }

  async deleteFromMap(map: string, key: Uint8Array): Promise<void> {
    await this.#call({ method: "deleteFromMap", map, key });
  }

  /** The kernel counts runs of programs of this machine while it is on, at some 50 ns a run. */
  async countRuns(state: "on" | "off"): Promise<void> {
    await this.#call({ method: "countRuns", state });
  }

  #call(call: KernelCall): Promise<unknown> {
    if (this.#isEnded || this.#isClosed) {
      return Promise.reject(this.#failure ?? new HeadwaterError("STOPPING", "the source of kernel events is closed"));
    }
    const id = this.#callsMade;
    this.#callsMade += 1;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#post({ kind: "call", id, call });
    });
  }

  #receive(message: FromKernelReader): void {
    if (message.kind === "batch") this.#take(message);
    else if (message.kind === "answer") this.#settle(message.id)?.resolve(message.value);
    else if (message.kind === "failed") this.#settle(message.id)?.reject(kernelUnavailable(message.reason));
    else this.#onStart(message);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#calls.get(id);
    this.#calls.delete(id);
    return pending;
  }

  #take({ batch, buffer, byteCount, owner }: Extract<FromKernelReader, { kind: "batch" }>): void {
    if (this.#isClosed) return;
    const received = { batch: { ...batch, bytes: new Uint8Array(buffer, 0, byteCount) }, buffer, owner };
    if (this.#waiting === null) {
      this.#received.push(received);
      return;
    }
    this.#held = received;
    this.#waiting.resolve(received.batch);
    this.#waiting = null;
  }

  #giveBack(): void {
    const held = this.#held;
    this.#held = null;
    if (held === null || held.owner === "none" || this.#isEnded || this.#isClosed) return;
    this.#post({ kind: "returned", owner: held.owner, name: held.batch.name, buffer: held.buffer }, [held.buffer]);
  }

  #end(): void {
    this.#isEnded = true;
    const error = this.#failure ?? new HeadwaterError("STOPPING", "the source of kernel events is closed");
    for (const pending of this.#calls.values()) pending.reject(error);
    this.#calls.clear();
    if (this.#failure === null || this.#isClosed) this.#waiting?.resolve(null);
    else this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }

  #post(message: ToKernelReader, transferred: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transferred);
  }
}
