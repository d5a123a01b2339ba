/** The kernel of this machine for an agent: which objects, how they are read, and what can be given up while they run. */
import { builtObjectPath, type ProgramInfo } from "../../native/kernel-probe.ts";
import type { Platform } from "../platform.ts";
import type { KernelControl, ProgramsCpu } from "./agent.ts";
import { eventLayout } from "./event-layout.generated.ts";
import { type KernelSignal, kernelSignals, type Level, levels } from "./governor.ts";
import { type KernelReaderOptions, whenAsked } from "./kernel-message.ts";
import { type KernelSource, openKernelSource, readerBounds, type StartWorker } from "./kernel-source.ts";
import { encodeSettings, type ProbeSettings, quietSettings, scopeKey, scopeValue } from "./probe-settings.ts";
import { syscallBits } from "./syscall-names.ts";

export interface LiveKernelOptions {
  readonly platform: Platform;
  readonly level: Level;
  readonly syscalls: "sampled" | "always" | "off";
  /** Maps are read at the end of each interval, at most once a second; every second without it. */
  readonly intervalMs?: number;
  /** `fallback`: requests by sys_exit although the kernel has the tracepoints of sockets. */
  readonly requests?: "best" | "fallback";
  /** Ids of the groups to watch, asked again as groups come and go; null: everything is watched. */
  readonly watchedGroups: (() => readonly bigint[]) | null;
  /** A process that is left alone, as this one is. */
  readonly platformTgid?: number;
  /** Another way to start the reading thread, for whoever runs from TypeScript. */
  readonly startWorker?: StartWorker;
}

export type OpenedLiveKernel = { readonly ok: true; readonly kernel: LiveKernel } | { readonly ok: false; readonly reason: string };

/** Objects of which the programs are attached all the time; requests come from one of two. */
const objects = ["connection", "process", "schedule", "block", "interface", "socket-iterator"] as const;
const maps = ["schedules", "blocks", "interfaces", "drops", "syscalls"] as const;
const secondMs = 1_000;
/** What nobody wrote for so long makes room, once a quarter of its map is used. */
const idleEntryMs = 60_000;
/** System calls are counted for this part of each second where they are sampled. */
const sampleMs = 100;
const syscallPrograms = ["syscall/syscall_enter", "syscall/syscall_exit"];
const sampleOneIn = secondMs / sampleMs;
const signalObjects: Readonly<Record<KernelSignal, string>> = { schedule: "schedule", syscalls: "syscall" };
const detailPerSecond = 50;
const detailCalls = ["open", "openat", "openat2", "creat"];
/** Captured of one transfer: pipelined commands arrive in one read, and what hides between two of them loses both. */
const chunkBytesMax = 16_384;
const payloadBytesMax = 65_536;
const ignoredPerSecondMax = 200;
/** Programs are timed in one second of so many, because the timing itself costs. */
const timedOneIn = 10;
/** A request waits for the record of its connection, so that comes first. What is seen of a host at rest costs ten wake-ups a second. */
const rings = [
  { name: "lifecycle_ring", by: "timer", everyMs: 50, idleMs: 100 },
  { name: "data_ring", by: "timer", everyMs: 50, idleMs: 100 },
  { name: "detail_ring", by: "timer", everyMs: 200, idleMs: 200 },
] as const;
const ringBytes = { data_ring: 8_388_608, lifecycle_ring: 1_048_576, detail_ring: 1_048_576 } as const;

function settingsOf(level: Level): ProbeSettings {
  const numbers = syscallBits(detailCalls);
  const numbersCompat = syscallBits(detailCalls, "32");
  const detail = { of: "all", tgid: 0, cgroup: 0n, command: null, perSecond: detailPerSecond, numbers, numbersCompat } as const;
  return {
    ...quietSettings,
    selfTgid: process.pid,
    level: levels.indexOf(level),
    chunkBytesMax: level === "payload" ? payloadBytesMax : chunkBytesMax,
    detail,
  };
}

/** How many times as much happened as is counted. */
export function syscallScaleOf(syscalls: LiveKernelOptions["syscalls"]): number {
  return syscalls === "sampled" ? sampleOneIn : 1;
}

/** Loads what the kernel takes; requests by the fallback where it has not the tracepoints. */
export async function openLiveKernel(options: LiveKernelOptions): Promise<OpenedLiveKernel> {
  if (options.requests === "fallback") return await open(options, "request-fallback");
  const first = await open(options, "request");
  if (!first.ok) return first;
  const programs = await first.kernel.source.programs();
  if (programs.filter(({ object }) => object === "request").every(({ attached }) => attached)) return first;
  await first.kernel.close();
  return await open(options, "request-fallback");
}

async function open(options: LiveKernelOptions, request: "request" | "request-fallback"): Promise<OpenedLiveKernel> {
  const names = [...objects, request, ...(options.syscalls === "off" ? [] : ["syscall"])];
  const found = names.flatMap((name) => {
    const path = builtObjectPath(name);
    return path === null ? [] : [{ name, path }];
  });
  if (!found.some(({ name }) => name === "connection")) {
    return { ok: false, reason: "the programs for the kernel are not built: node scripts/setup.mjs --kernel builds them" };
  }
  const state = settingsOf(options.level);
  const watched = options.watchedGroups === null ? "all" : "watched";
  const bytes = encodeSettings({ ...state, scope: watched });
  const idleReadings = Math.ceil(idleEntryMs / readEveryMsOf(options));
  const reader: KernelReaderOptions = {
    objects: found,
    programs: null,
    ringBytes,
    mapEntriesMax: {},
    settings: Object.fromEntries(found.map(({ name }) => [name, bytes])),
    rings,
    // Read when it is asked for, at the end of an interval, so that no reading lies across an edge.
    maps: [
      { name: "losses", everyMs: whenAsked },
      { name: "flows", everyMs: whenAsked, before: { program: "hw_read_flows", map: "connections" }, idleReadings },
      ...maps.map((name) => ({ name, everyMs: whenAsked, idleReadings })),
    ],
    iterators: ["hw_list_listeners", "hw_list_connections"].map((program) => ({
      program,
      recordBytes: eventLayout.connection.structBytes,
    })),
    ...readerBounds,
  };
  const opened = options.startWorker === undefined ? await openKernelSource(reader) : await openKernelSource(reader, options.startWorker);
  if (!opened.ok) return opened;
  const isFound = new Set(found.map(({ name }) => name));
  const unbuilt = names.filter((name) => !isFound.has(name));
  const kernel = new LiveKernel(opened.source, { ...options, objects: [...isFound], unbuilt });
  return { ok: true, kernel };
}

function readEveryMsOf({ intervalMs = secondMs }: LiveKernelOptions): number {
  return Math.max(intervalMs, secondMs);
}

interface LoadedObjects {
  readonly objects: readonly string[];
  /** Those that should be there and were never compiled. */
  readonly unbuilt: readonly string[];
}

/** Reads maps at the ends of intervals from `start` to `close`; rings are read all the time. */
export class LiveKernel implements KernelControl {
  readonly source: KernelSource;
  readonly #options: LiveKernelOptions & LoadedObjects;
  readonly #watched = new Set<bigint>();
  #level: Level;
  #scopeGeneration = 0;
  /** Of objects whose programs pause: times from before a pause are not believed. */
  readonly #generations = new Map<string, number>();
  /** Signals that are not wanted, and those of them whose programs are detached. */
  #unwanted: ReadonlySet<KernelSignal> = new Set();
  readonly #detached = new Set<KernelSignal>();
  #cancel: () => void = () => undefined;
  #isClosed = false;
  #seconds = 0;
  /** Which one since 1970 the last reading of the maps ended. */
  #period = 0;
  #ignored = 0;
  /** Of the objects' programs, when timing began. */
  #timed: { runNs: ReadonlyMap<string, number>; atMs: number } | null = null;
  /** Share of a core by object; null before it was measured. */
  #cpu: ReadonlyMap<string, number> | null = null;
  #failures = 0;

  /** Use `openLiveKernel`. */
  constructor(source: KernelSource, options: LiveKernelOptions & LoadedObjects) {
    this.source = source;
    this.#options = options;
    this.#level = options.level;
  }

  /** Calls to the kernel that failed since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** What could not be attached, as sentences; empty when everything was. */
  async missing(): Promise<readonly string[]> {
    const unbuilt = this.#options.unbuilt.map((object) => `the programs of ${object} are not built`);
    const refused = (await this.#refused()).map(
      ({ name, reason }) => `program ${name} is not attached${reason === "" ? "" : `: ${reason}`}`,
    );
    return [...unbuilt, ...refused];
  }

  /** Names of what is missing: of a program, or of an object whose programs are not built. */
  async missingNames(): Promise<readonly string[]> {
    return [...this.#options.unbuilt, ...(await this.#refused()).map(({ name }) => name)];
  }

  async #refused(): Promise<readonly ProgramInfo[]> {
    const programs = await this.source.programs();
    return programs.filter(
      ({ section, attached, wanted }) => wanted && !attached && !section.startsWith("iter/") && !section.startsWith("syscall"),
    );
  }

  async start(): Promise<void> {
    if (this.#options.syscalls === "sampled") {
      for (const program of syscallPrograms) await this.#try(() => this.source.detach(program));
    }
    await this.#try(() => this.#leaveAlone());
    await this.#try(() => this.#watch());
    // What the counters hold by now is where the first interval begins.
    await this.#try(() => this.source.readNow());
    this.#plan();
  }

  async setLevel(level: Level): Promise<void> {
    this.#level = level;
    this.#seconds = 0;
    await this.#try(() => this.#writeSettings());
  }

  async giveUp(signals: readonly KernelSignal[]): Promise<void> {
    this.#unwanted = new Set(signals);
    this.#seconds = 0;
    const gone = new Set(signals.map((signal) => signalObjects[signal]));
    if (this.#cpu !== null) this.#cpu = new Map([...this.#cpu].filter(([object]) => !gone.has(object)));
    await this.#try(() => this.#switchSignals());
  }

  ignore(cookie: bigint): void {
    if (this.#ignored >= ignoredPerSecondMax || this.#isClosed) return;
    this.#ignored += 1;
    const key = new Uint8Array(8);
    new DataView(key.buffer).setBigUint64(0, cookie, true);
    void this.#try(() => this.source.updateMap("ignored_connections", key, new Uint8Array([1, 0, 0, 0])));
  }

  programsCpu(): Promise<ProgramsCpu | null> {
    const cpu = this.#cpu;
    if (cpu === null) return Promise.resolve(null);
    const all = [...cpu.values()].reduce((sum, share) => sum + share, 0);
    const signals = new Map(kernelSignals.map((signal) => [signal, cpu.get(signalObjects[signal]) ?? 0]));
    return Promise.resolve({ all, signals });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.source.close();
  }

  #plan(): void {
    if (this.#isClosed) return;
    const { clock } = this.#options.platform;
    const nowMs = clock.nowMs();
    const readEveryMs = readEveryMsOf(this.#options);
    const waitMs = Math.min(secondMs - (nowMs % secondMs), readEveryMs - (nowMs % readEveryMs)) + 1;
    this.#cancel = clock.schedule(waitMs, () => {
      const period = Math.floor(clock.nowMs() / readEveryMs);
      const isOver = period !== this.#period;
      this.#period = period;
      void this.#second(isOver ? () => this.source.readNow() : null).finally(() => this.#plan());
    });
  }

  async #second(read: (() => Promise<void>) | null): Promise<void> {
    this.#ignored = 0;
    this.#seconds += 1;
    if (read !== null) await this.#try(read);
    await this.#try(() => this.#time());
    await this.#try(() => this.#watch());
    await this.#try(() => this.#switchSignals());
    if (this.#options.syscalls === "sampled" && !this.#unwanted.has("syscalls")) await this.#try(() => this.#sample());
  }

  /** Detaches what is not wanted and attaches what is again; what is sampled is not attached between its samples anyway. */
  async #switchSignals(): Promise<void> {
    for (const signal of kernelSignals) {
      const object = signalObjects[signal];
      const isUnwanted = this.#unwanted.has(signal);
      if (isUnwanted === this.#detached.has(signal) || (signal === "syscalls" && this.#options.syscalls !== "always")) continue;
      if (!isUnwanted) await this.source.writeSettings(object, this.#settingsOf(object, "resumed"));
      for (const program of await this.source.programs()) {
        if (program.object !== object || !program.loaded || program.attached !== isUnwanted) continue;
        if (isUnwanted) await this.source.detach(`${object}/${program.name}`);
        else await this.source.attach(`${object}/${program.name}`);
      }
      if (isUnwanted) this.#detached.add(signal);
      else this.#detached.delete(signal);
    }
  }

  /** The kernel's own clock of our programs, for a second at a time. */
  async #time(): Promise<void> {
    const place = this.#seconds % timedOneIn;
    if (place === 1) {
      await this.source.countRuns("on");
      this.#timed = { runNs: runNsOf(await this.source.programs()), atMs: this.#options.platform.clock.nowMs() };
    } else if (place === 2 && this.#timed !== null) {
      const { runNs: before, atMs } = this.#timed;
      const elapsedMs = this.#options.platform.clock.nowMs() - atMs;
      const runNs = runNsOf(await this.source.programs());
      await this.source.countRuns("off");
      this.#timed = null;
      if (elapsedMs <= 0) return;
      this.#cpu = new Map([...runNs].map(([object, ns]) => [object, (ns - (before.get(object) ?? 0)) / 1e6 / elapsedMs]));
    }
  }

  async #leaveAlone(): Promise<void> {
    const { platformTgid } = this.#options;
    if (platformTgid === undefined) return;
    await this.source.updateMap("scope", scopeKey({ tgid: platformTgid }), scopeValue("ignore"));
    this.#scopeGeneration += 1;
    await this.#writeSettings();
  }

  async #watch(): Promise<void> {
    const { watchedGroups } = this.#options;
    if (watchedGroups === null) return;
    const groups = new Set(watchedGroups());
    const added = [...groups].filter((group) => !this.#watched.has(group));
    const gone = [...this.#watched].filter((group) => !groups.has(group));
    for (const group of added) {
      await this.source.updateMap("scope", scopeKey({ cgroup: group }), scopeValue("watch"));
      this.#watched.add(group);
    }
    for (const group of gone) {
      await this.source.deleteFromMap("scope", scopeKey({ cgroup: group }));
      this.#watched.delete(group);
    }
    if (added.length + gone.length === 0) return;
    this.#scopeGeneration += 1;
    await this.#writeSettings();
  }

  /** One call to the reading thread: twelve, of which it was once made, cost more than what they asked for. */
  async #sample(): Promise<void> {
    await this.source.attachFor({
      programs: syscallPrograms,
      ms: sampleMs,
      settings: { object: "syscall", bytes: this.#settingsOf("syscall", "resumed") },
    });
  }

  async #writeSettings(): Promise<void> {
    for (const name of this.#options.objects) await this.source.writeSettings(name, this.#settingsOf(name));
  }

  /** Only programs that pause are told of it: the others would forget what is going on. */
  #settingsOf(object: string, state: "running" | "resumed" = "running"): Uint8Array {
    const scope = this.#options.watchedGroups === null ? ("all" as const) : ("watched" as const);
    const generation = (this.#generations.get(object) ?? 0) + (state === "resumed" ? 1 : 0);
    this.#generations.set(object, generation);
    return encodeSettings({ ...settingsOf(this.#level), scope, generation, scopeGeneration: this.#scopeGeneration });
  }

  /** What fails is tried again at the next second; the source tells its own end. */
  async #try(act: () => Promise<unknown>): Promise<void> {
    if (this.#isClosed) return;
    try {
      await act();
    } catch {
      this.#failures += 1;
    }
  }
}

function runNsOf(programs: readonly ProgramInfo[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { object, runNs } of programs) sums.set(object, (sums.get(object) ?? 0) + runNs);
  return sums;
}
