/** Control groups as files: their ids, and how long they were throttled. Both hierarchies, whichever is mounted. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { namespaceRoot } from "./cgroup-namespace.ts";
import { type CgroupPaths, parseCgroups, resolveGroup } from "./cgroup-path.ts";
import { readText } from "./process-files.ts";

export class CgroupFiles {
  readonly #root: string;
  /** Null where the unified hierarchy is not mounted. */
  readonly #unified: string | null;
  readonly #self: OwnGroups;
  /** By controller (the unified hierarchy has none), where our control group namespace begins; null where that cannot be told. */
  readonly #namespaceRoots = new Map<string, string | null>();

  /** `root` is `/sys/fs/cgroup`, or a folder of that form in tests. */
  constructor(root = "/sys/fs/cgroup", self: OwnGroups = ownGroups()) {
    this.#root = root;
    this.#self = self;
    const candidates = [join(root, "unified"), root];
    this.#unified = candidates.find((path) => existsSync(join(path, "cgroup.controllers"))) ?? null;
  }

  /** The paths as the mounted trees have them, where `/proc` tells them relative to our own namespace; those that cannot be told as they are. */
  resolve({ unified, byController }: CgroupPaths): CgroupPaths {
    const resolved = [...byController].map(([controller, path]) => [controller, this.#resolveIn(controller, path)] as const);
    return { unified: this.#resolveIn("", unified), byController: new Map(resolved) };
  }

  /** The id by which the kernel names the group of a process: of the unified hierarchy, or of v1's `blkio`; null where there is none. */
  id(hierarchy: "v2" | "blkio", paths: CgroupPaths): bigint | null {
    const directory = hierarchy === "v2" ? this.#unifiedDirectory(paths) : this.#controllerDirectory("blkio", paths);
    try {
      return directory === null ? null : statSync(directory, { bigint: true }).ino;
    } catch {
      return null;
    }
  }

  /** Nanoseconds that the group of a process has been throttled since it was made; null where nothing can throttle it. */
  throttledNs(paths: CgroupPaths): number | null {
    const unified = this.#unifiedDirectory(paths);
    if (unified !== null && paths.unified !== "/") {
      const us = statOf(readText(join(unified, "cpu.stat")), "throttled_usec");
      if (us !== null) return us * 1_000;
    }
    const directory = this.#controllerDirectory("cpu", paths);
    if (directory === null || paths.byController.get("cpu") === "/") return null;
    return statOf(readText(join(directory, "cpu.stat")), "throttled_time");
  }

  /** Ids of the groups at and below these paths of the unified hierarchy, at most `groupsMax`. */
  idsBelow(paths: readonly string[], groupsMax: number): bigint[] {
    const waiting =
      this.#unified === null ? [] : paths.filter((path) => !path.includes("..")).map((path) => join(this.#unified ?? "", path));
    const ids: bigint[] = [];
    for (let path = waiting.pop(); path !== undefined && ids.length < groupsMax; path = waiting.pop()) {
      try {
        ids.push(statSync(path, { bigint: true }).ino);
        for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) waiting.push(join(path, entry.name));
      } catch {
        // A group that is gone, or not there yet, has nobody in it.
      }
    }
    return ids;
  }

  #unifiedDirectory({ unified }: CgroupPaths): string | null {
    return this.#unified === null || unified.includes("..") ? null : join(this.#unified, unified);
  }

  #controllerDirectory(controller: string, { byController }: CgroupPaths): string | null {
    const path = byController.get(controller);
    if (path === undefined || path.includes("..")) return null;
    const mount = this.#controllerMount(controller, byController);
    return mount === null ? null : join(mount, path);
  }

  /** A controller's own mount, or that of the controllers that it shares one with. */
  #controllerMount(controller: string, byController: CgroupPaths["byController"]): string | null {
    const path = byController.get(controller);
    const together = [...byController.keys()].filter((name) => byController.get(name) === path);
    const mounts = [controller, ...together.flatMap((name) => [`${controller},${name}`, `${name},${controller}`])];
    const mount = mounts.find((name) => existsSync(join(this.#root, name)));
    return mount === undefined ? null : join(this.#root, mount);
  }

  #resolveIn(controller: string, path: string): string {
    let root = this.#namespaceRoots.get(controller);
    if (root === undefined) {
      root = this.#namespaceRoot(controller);
      this.#namespaceRoots.set(controller, root);
    }
    return root === null || root === "/" ? path : (resolveGroup(path, root) ?? path);
  }

  #namespaceRoot(controller: string): string | null {
    const { pid, paths } = this.#self;
    const mount = controller === "" ? this.#unified : this.#controllerMount(controller, paths.byController);
    const ownPath = controller === "" ? paths.unified : (paths.byController.get(controller) ?? "/");
    return mount === null ? null : namespaceRoot(mount, ownPath, pid);
  }
}

/** Our own process and its groups, as `/proc` tells them. */
export interface OwnGroups {
  readonly pid: number;
  readonly paths: CgroupPaths;
}

function ownGroups(): OwnGroups {
  return { pid: process.pid, paths: parseCgroups(readText("/proc/self/cgroup") ?? "") };
}

function statOf(text: string | null, name: string): number | null {
  const found = text === null ? null : new RegExp(`^${name} (\\d+)$`, "m").exec(text);
  return found === null ? null : Number(found[1]);
}
