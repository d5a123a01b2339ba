/**
 * What only a service itself and its host can make move: processor time and waiting for it, throttling, block devices, system calls, memory,
 * threads, open files.
 */
import { processMetric } from "../../contract/kernel-telemetry.ts";
import type { CgroupFiles } from "./cgroup-files.ts";
import { CounterDeltas, type ReadAt } from "./counter-delta.ts";
import type { BlockCounter, ScheduleCounter, SyscallCounter } from "./decode-counters.ts";
import { type IdentityBook, resourceOf, type ServiceIdentity } from "./identity.ts";
import type { MetricOwner, MetricSums } from "./metric-sums.ts";
import type { ProcessFacts, ProcessReader } from "./process-files.ts";
import { syscallName } from "./syscall-names.ts";

export interface ProcessSignalsOptions {
  readonly identities: IdentityBook;
  readonly processes: ProcessReader;
  readonly cgroups: CgroupFiles;
  /** The host, for what is nobody's. */
  readonly hostOwner: MetricOwner;
  /** Processes whose memory, threads and files are read in one interval. */
  readonly processesReadMax: number;
  /** System calls of one service that are told apart; the rarer ones are `other`. */
  readonly syscallsPerServiceMax: number;
  /** How many times as much happened as `syscalls` counts. */
  readonly syscallScale: number;
  readonly onCounted: (what: "processes-not-read") => void;
}

type ScheduleCounts = { readonly [N in "runNs" | "waitNs"]: number };
type BlockCounts = { readonly count: number; readonly bytes: number; readonly sumNs: number; readonly buckets: Float64Array };
type SyscallCounts = { readonly count: number; readonly errors: number; readonly sumNs: number; readonly buckets: Float64Array };

const groupsMax = 4_096;

export class ProcessSignals {
  readonly #options: ProcessSignalsOptions;
  readonly #schedules = new CounterDeltas<ScheduleCounts>();
  readonly #blocks = new CounterDeltas<BlockCounts>();
  readonly #syscalls = new CounterDeltas<SyscallCounts>();
  /** Nanoseconds throttled by group, and when they were read. */
  readonly #throttled = new Map<string, { ns: number; atMs: number }>();
  /** Whose block devices a group's requests are, by hierarchy and id. */
  readonly #groups = new Map<string, ServiceIdentity | null>();
  #syscallsKnown = new Map<string, Set<number>>();

  constructor(options: ProcessSignalsOptions) {
    this.#options = options;
  }

  schedules(rows: readonly ScheduleCounter[], at: ReadAt, sums: MetricSums): void {
    const key = (row: ScheduleCounter) => `${row.cgroup} ${row.tgid}`;
    const counters = ({ runNs, waitNs }: ScheduleCounter): ScheduleCounts => ({ runNs, waitNs });
    const totals = new Map<string, { owner: MetricOwner; runNs: number; waitNs: number; elapsedMs: number }>();
    this.#schedules.read(rows, { ...at, key, counters }, (row, delta) => {
      const who = row.tgid === 0 ? null : this.#options.identities.of(row.tgid, row.cgroup, at.atNs);
      if (who === null) return;
      const total = totals.get(who.key) ?? { owner: ownerOf(who), runNs: 0, waitNs: 0, elapsedMs: delta.elapsedMs };
      total.runNs += delta.counters.runNs;
      total.waitNs += delta.counters.waitNs;
      totals.set(who.key, total);
    });
    for (const { owner, runNs, waitNs, elapsedMs } of totals.values()) {
      const row = { owner, unit: "1", attributes: {} };
      sums.mean({ ...row, name: processMetric.cpuUtilization }, runNs / 1e6, elapsedMs);
      sums.mean({ ...row, name: processMetric.runQueueWait }, waitNs / 1e6, elapsedMs);
    }
  }

  blocks(rows: readonly BlockCounter[], at: ReadAt, sums: MetricSums): void {
    const key = (row: BlockCounter) => `${row.hierarchy} ${row.cgroup} ${row.major}:${row.minor} ${row.operation}`;
    const counters = ({ count, bytes, sumNs, buckets }: BlockCounter): BlockCounts => ({ count, bytes, sumNs, buckets });
    this.#blocks.read(rows, { ...at, key, counters }, (row, delta) => {
      const who = this.#groupOf(row);
      const owner = who === null ? this.#options.hostOwner : ownerOf(who);
      const attributes = { "disk.io.direction": row.operation === "other" ? "flush" : row.operation };
      sums.histogram({ owner, name: processMetric.blockDuration, unit: "s", attributes }, delta.counters.buckets, delta.counters.sumNs);
      sums.add({ owner, name: processMetric.blockIo, unit: "By", attributes }, delta.counters.bytes);
    });
  }

  syscalls(rows: readonly SyscallCounter[], at: ReadAt, sums: MetricSums): void {
    const key = (row: SyscallCounter) => `${row.tgid} ${row.number}`;
    const counters = ({ count, errors, sumNs, buckets }: SyscallCounter): SyscallCounts => ({ count, errors, sumNs, buckets });
    this.#syscalls.read(rows, { ...at, key, counters }, (row, delta) => {
      const who = this.#options.identities.of(row.tgid, row.cgroup, at.atNs);
      if (who === null) return;
      const owner = ownerOf(who);
      const { syscallScale: scale } = this.#options;
      const { count, errors, buckets, sumNs } = delta.counters;
      const attributes = { syscall: this.#syscallOf(who, row.number) };
      sums.add({ owner, name: processMetric.syscalls, unit: "1", attributes }, count * scale);
      sums.add({ owner, name: processMetric.syscallErrors, unit: "1", attributes }, errors * scale);
      const durations = { owner, name: processMetric.syscallDuration, unit: "s", attributes };
      const scaled = scale === 1 ? buckets : buckets.map((calls) => calls * scale);
      sums.histogram(durations, scaled, sumNs * scale);
    });
  }

  /** Memory, threads, files and throttling of every service; once an interval, at its end. */
  files(atMs: number, sums: MetricSums): void {
    const groups = new Map<string, { who: ServiceIdentity; facts: ProcessFacts }>();
    let read = 0;
    for (const { tgid, identity, facts } of this.#options.identities.services()) {
      groups.set(`${facts.cgroups.unified} ${facts.cgroups.byController.get("cpu") ?? ""}`, { who: identity, facts });
      this.#rememberGroup(identity, facts);
      read += 1;
      if (read > this.#options.processesReadMax) {
        this.#options.onCounted("processes-not-read");
        continue;
      }
      const usage = this.#options.processes.usage(tgid);
      if (usage === null) continue;
      const row = { owner: ownerOf(identity), attributes: {} };
      sums.gauge({ ...row, name: processMetric.memory, unit: "By" }, usage.memoryBytes);
      sums.gauge({ ...row, name: processMetric.threads, unit: "1" }, usage.threads);
      if (usage.openFiles !== null) sums.gauge({ ...row, name: processMetric.openFiles, unit: "1" }, usage.openFiles);
    }
    for (const [key, { who, facts }] of groups) this.#throttling(key, { who, facts, atMs }, sums);
    for (const key of this.#throttled.keys()) if (!groups.has(key)) this.#throttled.delete(key);
  }

  #throttling(key: string, of: { who: ServiceIdentity; facts: ProcessFacts; atMs: number }, sums: MetricSums): void {
    const ns = this.#options.cgroups.throttledNs(of.facts.cgroups);
    if (ns === null) return;
    const before = this.#throttled.get(key);
    this.#throttled.set(key, { ns, atMs: of.atMs });
    if (before === undefined || of.atMs <= before.atMs || ns < before.ns) return;
    // Every processor is throttled on its own, so that the sum may be longer than the time that passed.
    const share = Math.min(1, (ns - before.ns) / 1e6 / (of.atMs - before.atMs));
    sums.mean({ owner: ownerOf(of.who), name: processMetric.throttled, unit: "1", attributes: {} }, share, 1);
  }

  /** A group with processes of two services is nobody's. */
  #rememberGroup(who: ServiceIdentity, facts: ProcessFacts): void {
    for (const hierarchy of ["v2", "blkio"] as const) {
      const path = hierarchy === "v2" ? facts.cgroups.unified : facts.cgroups.byController.get("blkio");
      if (path === undefined || path === "/") continue;
      const id = this.#options.cgroups.id(hierarchy, facts.cgroups);
      if (id === null) continue;
      const key = `${hierarchy} ${id}`;
      const known = this.#groups.get(key);
      if (known === undefined && this.#groups.size >= groupsMax) continue;
      const isSame = known?.name === who.name && known.namespace === who.namespace;
      if (known === undefined || !isSame) this.#groups.set(key, known === undefined ? who : null);
    }
  }

  #groupOf({ hierarchy, cgroup }: BlockCounter): ServiceIdentity | null {
    return this.#groups.get(`${hierarchy} ${cgroup}`) ?? null;
  }

  /** The first ones that a service makes keep their names: those that it makes all the time come first. */
  #syscallOf(who: ServiceIdentity, number: number): string {
    let known = this.#syscallsKnown.get(who.key);
    if (known === undefined) {
      known = new Set();
      if (this.#syscallsKnown.size >= groupsMax) this.#syscallsKnown = new Map();
      this.#syscallsKnown.set(who.key, known);
    }
    if (!known.has(number) && known.size >= this.#options.syscallsPerServiceMax) return "other";
    known.add(number);
    return syscallName(number);
  }
}

function ownerOf(who: ServiceIdentity): MetricOwner {
  return { key: who.key, resource: resourceOf(who) };
}
