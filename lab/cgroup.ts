/**
 * Control groups of a shop: one for each service, in every hierarchy that the machine has. The unified one (v2) says who a process is to
 * whoever watches the kernel; those of v1 that can limit something are there to limit it, and on a host with v2 alone that one does both.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabError, textOf } from "./lab-error.ts";
import { isRunning } from "./running.ts";

const groupPrefix = "headwater-lab-";
const removeWaitMs = 3_000;
const pollMs = 25;
/** Generations of processes that are followed below a server. */
const depthMax = 3;

export type Controller = "cpu" | "memory" | "blkio";
const controllers: readonly Controller[] = ["cpu", "memory", "blkio"];

/** Where the hierarchies of a machine are. */
export interface Hierarchies {
  /** Null on a host without one. */
  readonly unified: string | null;
  readonly v1: Readonly<Partial<Record<Controller, string>>>;
}

export function findHierarchies(root = "/sys/fs/cgroup"): Hierarchies {
  const unified = [join(root, "unified"), root].find((folder) => existsSync(join(folder, "cgroup.controllers"))) ?? null;
  const v1 = controllers.filter((name) => existsSync(join(root, name, "cgroup.procs"))).map((name) => [name, join(root, name)]);
  return { unified, v1: Object.fromEntries(v1) as Hierarchies["v1"] };
}

/** Folders of one group, by hierarchy; the unified one comes first. */
export function groupFolders(hierarchies: Hierarchies, ...parts: readonly string[]): string[] {
  const { unified, v1 } = hierarchies;
  return [...(unified === null ? [] : [unified]), ...Object.values(v1)].map((folder) => join(folder, ...parts));
}

export class LabGroups {
  /** The shop's group as `/proc/PID/cgroup` has it: everything below is ours. */
  readonly path: string;
  readonly #name: string;
  readonly #hierarchies: Hierarchies;

  private constructor(name: string, hierarchies: Hierarchies) {
    this.#name = name;
    this.path = `/${name}`;
    this.#hierarchies = hierarchies;
  }

  /** Makes the shop's group, and removes those of labs that were killed. Throws LAB_FAILED where this machine does not allow it. */
  static open(pid: number, hierarchies = findHierarchies()): LabGroups {
    if (hierarchies.unified === null) throw new LabError("there is no unified hierarchy of control groups (cgroup v2)");
    sweep(hierarchies);
    const groups = new LabGroups(`${groupPrefix}${pid}`, hierarchies);
    try {
      for (const folder of groupFolders(hierarchies, groups.#name)) mkdirSync(folder, { recursive: true });
      groups.#delegate();
      return groups;
    } catch (error) {
      for (const folder of groupFolders(hierarchies, groups.#name)) removeTree(folder);
      throw new LabError(`control groups: ${textOf(error)}`);
    }
  }

  /** With v2 alone, limits exist below a group only when it hands its controllers down. */
  #delegate(): void {
    const { unified, v1 } = this.#hierarchies;
    if (unified === null) return;
    for (const [name, v2] of [
      ["cpu", "cpu"],
      ["memory", "memory"],
      ["blkio", "io"],
    ] as const) {
      if (v1[name] !== undefined || !has(join(unified, "cgroup.controllers"), v2)) continue;
      for (const folder of [unified, join(unified, this.#name)]) writeFileSync(join(folder, "cgroup.subtree_control"), `+${v2}`);
    }
  }

  /** Puts a process into the group of a service, in every hierarchy. Its children follow by themselves. */
  place(service: string, pid: number): void {
    for (const folder of groupFolders(this.#hierarchies, this.#name, service)) move(folder, [pid]);
  }

  /** Puts a server and what it has started by now into a group that says who it is. */
  placeServer(name: string, pid: number): void {
    if (this.#hierarchies.unified !== null) move(join(this.#hierarchies.unified, this.#name, name), [pid, ...descendants(pid)]);
  }

  /** Processor time of a service's processes by now, µs; 0 of one that never ran. */
  cpuUs(service: string): number {
    const file = join(this.#hierarchies.unified ?? "", this.#name, service, "cpu.stat");
    return existsSync(file) ? Number(/^usage_usec (\d+)$/m.exec(readFileSync(file, "utf8"))?.[1] ?? 0) : 0;
  }

  memoryBytes(service: string): number {
    const { folder, version } = this.#limits("memory", service);
    return Number(readFileSync(join(folder, version === "v1" ? "memory.usage_in_bytes" : "memory.current"), "utf8"));
  }

  /** Processor time that a service may use in each period, µs; null: as much as there is. */
  limitCpu(service: string, limit: { quotaUs: number; periodUs: number } | null): void {
    const { folder, version } = this.#limits("cpu", service);
    limitCpu(folder, version, limit);
  }

  limitMemory(service: string, bytes: number | null): void {
    const { folder, version } = this.#limits("memory", service);
    if (version === "v1") writeFileSync(join(folder, "memory.limit_in_bytes"), String(bytes ?? -1));
    else writeFileSync(join(folder, "memory.max"), String(bytes ?? "max"));
  }

  /** `device` is `major:minor` of a whole disk. */
  limitWrites(service: string, device: string, bytesPerSecond: number | null): void {
    const { folder, version } = this.#limits("blkio", service);
    if (version === "v1") writeFileSync(join(folder, "blkio.throttle.write_bps_device"), `${device} ${bytesPerSecond ?? 0}`);
    else writeFileSync(join(folder, "io.max"), `${device} wbps=${bytesPerSecond ?? "max"}`);
  }

  /** Why a controller cannot be used, as a sentence; null where it can. */
  missing(controller: Controller): string | null {
    const { unified, v1 } = this.#hierarchies;
    if (v1[controller] !== undefined || (unified !== null && has(join(unified, "cgroup.controllers"), v2Name(controller)))) return null;
    return `there is no control group controller ${controller}`;
  }

  /**
   * Makes a host of some services: together with `neighbour`, which weighs more than they do, they may use so many µs of each period. With v2
   * alone a group of groups would change who they are, so that this needs v1.
   */
  share(host: string, options: { services: readonly string[]; neighbour: readonly number[]; weight: number } & CpuLimit): void {
    const root = this.#hostFolder(host);
    mkdirSync(root, { recursive: true });
    limitCpu(root, "v1", options);
    for (const service of options.services) move(join(root, service), processes(join(this.#cpuRoot(), service)));
    move(join(root, "neighbour"), options.neighbour);
    writeFileSync(join(root, "neighbour", "cpu.shares"), String(options.weight));
  }

  /** Takes that back; the neighbour's processes have ended. */
  async unshare(host: string, services: readonly string[]): Promise<void> {
    const root = this.#hostFolder(host);
    limitCpu(root, "v1", null);
    for (const service of services) move(join(this.#cpuRoot(), service), processes(join(root, service)));
    await removed(root);
  }

  #cpuRoot(): string {
    const { cpu } = this.#hierarchies.v1;
    if (cpu === undefined) throw new LabError("a noisy neighbour needs the v1 hierarchy of the controller cpu");
    return join(cpu, this.#name);
  }

  #hostFolder(host: string): string {
    return join(this.#cpuRoot(), `host-${host}`);
  }

  #limits(controller: Controller, service: string): { folder: string; version: "v1" | "v2" } {
    const reason = this.missing(controller);
    if (reason !== null) throw new LabError(reason);
    const { unified, v1 } = this.#hierarchies;
    const own = v1[controller];
    return { folder: join(own ?? unified ?? "", this.#name, service), version: own === undefined ? "v2" : "v1" };
  }

  /** Removes every group; its processes have ended. */
  async close(): Promise<void> {
    await Promise.all(groupFolders(this.#hierarchies, this.#name).map(removed));
  }
}

interface CpuLimit {
  readonly quotaUs: number;
  readonly periodUs: number;
}

function v2Name(controller: Controller): string {
  return controller === "blkio" ? "io" : controller;
}

function limitCpu(folder: string, version: "v1" | "v2", limit: CpuLimit | null): void {
  if (version === "v2") {
    writeFileSync(join(folder, "cpu.max"), limit === null ? "max" : `${limit.quotaUs} ${limit.periodUs}`);
    return;
  }
  if (limit !== null) writeFileSync(join(folder, "cpu.cfs_period_us"), String(limit.periodUs));
  writeFileSync(join(folder, "cpu.cfs_quota_us"), String(limit?.quotaUs ?? -1));
}

function has(file: string, word: string): boolean {
  return readFileSync(file, "utf8").trim().split(/\s+/).includes(word);
}

function processes(folder: string): number[] {
  return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
}

/** A process that ends meanwhile is no failure. */
function move(folder: string, pids: readonly number[]): void {
  mkdirSync(folder, { recursive: true });
  for (const pid of pids) {
    try {
      writeFileSync(join(folder, "cgroup.procs"), String(pid));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw new LabError(`process ${pid} into ${folder}: ${textOf(error)}`);
    }
  }
}

function descendants(pid: number, depth = 0): number[] {
  if (depth >= depthMax) return [];
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  } catch {
    // It has ended.
  }
  const children = text.split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child, depth + 1)]);
}

/** Groups of labs that are gone: theirs were the processes, which are gone with them. */
function sweep(hierarchies: Hierarchies): void {
  for (const folder of groupFolders(hierarchies)) {
    for (const name of readdirSync(folder)) {
      const pid = new RegExp(`^${groupPrefix}(\\d+)$`).exec(name)?.[1];
      if (pid !== undefined && !isRunning(Number(pid))) removeTree(join(folder, name));
    }
  }
}

/** Waits for the last process to be gone; a group that somebody else holds is left for the next sweep. */
async function removed(folder: string): Promise<void> {
  const deadline = performance.now() + removeWaitMs;
  while (!removeTree(folder) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, pollMs));
}

/** Children first; whether all of it is gone. Files of a group are the kernel's and go with it. */
function removeTree(folder: string): boolean {
  if (!existsSync(folder)) return true;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(folder, entry.name));
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
