/**
 * Where in the mounted tree of control groups this process is. In a namespace of its own, as every pod has, `/proc` tells paths relative to
 * the namespace's root, while the node's tree is mounted whole: the group that lists our process is the one that we are in.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Groups that are looked at, once, to find ours. */
const groupsMax = 20_000;

/**
 * Path of the namespace's root below `mount`: `/` without a namespace, or where the mount is the namespace's own; null where it cannot be told.
 * `ownPath` is our own path as `/proc` tells it.
 */
export function namespaceRoot(mount: string, ownPath: string, pid: number): string | null {
  if (ownPath.includes("..")) return null;
  if (holds(join(mount, ownPath), pid)) return "/";
  const suffix = ownPath === "/" ? "" : ownPath;
  const waiting = [""];
  for (let index = 0; index < waiting.length && index < groupsMax; index += 1) {
    const path = waiting[index] ?? "";
    if (path.endsWith(suffix) && holds(join(mount, path), pid)) return path.slice(0, path.length - suffix.length) || "/";
    for (const name of foldersIn(join(mount, path))) if (waiting.length < groupsMax) waiting.push(`${path}/${name}`);
  }
  return null;
}

/** Whether a group lists a process; the kernel translates ids into those of the reader's namespace. */
function holds(directory: string, pid: number): boolean {
  try {
    return readFileSync(join(directory, "cgroup.procs"), "latin1").split("\n").includes(String(pid));
  } catch {
    return false;
  }
}

function foldersIn(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}
