/** What `/proc` tells of a process, read with bounds; a process that is gone is null, never an error. */
import { Buffer } from "node:buffer";
import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { type CgroupPaths, parseCgroups } from "./cgroup-path.ts";
import { parseEnvironment } from "./environment.ts";

const environBytesMax = 131_072;
const smallBytesMax = 16_384;
const pageBytes = 4_096;
const openFilesMax = 1_048_576;

export interface ProcessFacts {
  readonly parent: number;
  /** As the kernel calls the main thread, at most 15 characters. */
  readonly command: string;
  /** Since boot; with the pid it names a process for good. */
  readonly startTicks: number;
  readonly cgroups: CgroupPaths;
  readonly environment: ReadonlyMap<string, string>;
}

export interface ProcessUsage {
  readonly memoryBytes: number;
  readonly threads: number;
  /** Null where we may not look. */
  readonly openFiles: number | null;
}

/** Where processes are looked up: `/proc`, or a recording of what it said. */
export interface ProcessReader {
  /** Null when there is no such process. */
  facts(pid: number): ProcessFacts | null;
  /** Ticks since boot at which the process with this pid began; null when there is none. */
  startTicks(pid: number): number | null;
  usage(pid: number): ProcessUsage | null;
}

export class ProcessFiles implements ProcessReader {
  readonly #root: string;
  readonly #buffer = Buffer.allocUnsafe(environBytesMax);
  readonly #resolve: (paths: CgroupPaths) => CgroupPaths;

  /**
   * `root` is `/proc`, or a folder of that form in tests. `resolve` makes paths of control groups those of the mounted tree where this process
   * has a control group namespace of its own.
   */
  constructor(root = "/proc", resolve: (paths: CgroupPaths) => CgroupPaths = (paths) => paths) {
    this.#root = root;
    this.#resolve = resolve;
  }

  facts(pid: number): ProcessFacts | null {
    const stat = this.#stat(pid);
    const cgroup = this.#read(pid, "cgroup", smallBytesMax)?.toString("utf8");
    if (stat === null || cgroup === undefined) return null;
    const environment = parseEnvironment(this.#read(pid, "environ", environBytesMax) ?? Buffer.alloc(0));
    return { ...stat, cgroups: this.#resolve(parseCgroups(cgroup)), environment };
  }

  startTicks(pid: number): number | null {
    return this.#stat(pid)?.startTicks ?? null;
  }

  usage(pid: number): ProcessUsage | null {
    const statm = this.#read(pid, "statm", smallBytesMax)?.toString("latin1");
    const status = this.#read(pid, "status", smallBytesMax)?.toString("utf8");
    if (statm === undefined || status === undefined) return null;
    const pages = Number(statm.split(" ")[1]);
    const threads = Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
    if (!Number.isFinite(pages) || !Number.isFinite(threads)) return null;
    return { memoryBytes: pages * pageBytes, threads, openFiles: this.#openFiles(pid) };
  }

  #openFiles(pid: number): number | null {
    try {
      return Math.min(readdirSync(join(this.#root, String(pid), "fd")).length, openFilesMax);
    } catch {
      return null;
    }
  }

  /** Fields behind the command, which is in parentheses and may hold anything. */
  #stat(pid: number): { parent: number; command: string; startTicks: number } | null {
    const text = this.#read(pid, "stat", smallBytesMax)?.toString("utf8") ?? "";
    const open = text.indexOf("(");
    const close = text.lastIndexOf(")");
    if (open < 0 || close < open) return null;
    const fields = text.slice(close + 2).split(" ");
    const parent = Number(fields[1]);
    const startTicks = Number(fields[19]);
    if (!Number.isInteger(parent) || !Number.isInteger(startTicks)) return null;
    return { parent, command: text.slice(open + 1, close), startTicks };
  }

  /** The first bytes of a file; a view that the next read overwrites. */
  #read(pid: number, name: string, bytesMax: number): Buffer | null {
    let file: number | null = null;
    try {
      file = openSync(join(this.#root, String(pid), name), "r");
      let length = 0;
      while (length < bytesMax) {
        const count = readSync(file, this.#buffer, length, bytesMax - length, null);
        if (count === 0) break;
        length += count;
      }
      return this.#buffer.subarray(0, length);
    } catch {
      return null;
    } finally {
      if (file !== null) closeSync(file);
    }
  }
}

/** A small text file, or null where it is not there or not to be read. */
export function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8").slice(0, smallBytesMax);
  } catch {
    return null;
  }
}
