/** What the path of a control group says of who runs in it. */

/** Paths of one process, as `/proc/PID/cgroup` lists them. */
export interface CgroupPaths {
  /** Of the unified hierarchy (v2); `/` without one. */
  readonly unified: string;
  /** Of v1 hierarchies, by controller. */
  readonly byController: ReadonlyMap<string, string>;
}

export type CgroupOwner =
  | { readonly kind: "pod"; readonly podUid: string; readonly containerId: string | null }
  | { readonly kind: "container"; readonly containerId: string }
  | { readonly kind: "cgroup"; readonly name: string; readonly path: string }
  | { readonly kind: "unit"; readonly name: string };

const linesMax = 64;

/** Reads the text of `/proc/PID/cgroup`; lines of another shape are passed over. */
export function parseCgroups(text: string): CgroupPaths {
  let unified = "/";
  const byController = new Map<string, string>();
  for (const line of text.split("\n", linesMax)) {
    const found = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (found === null) continue;
    const [controllers, path] = [found[1] ?? "", found[2] ?? "/"];
    if (controllers === "") unified = path;
    for (const controller of controllers.split(",")) if (controller !== "") byController.set(controller, path);
  }
  return { unified, byController };
}

/**
 * Whose the group is: a pod's, a container's, a configured parent's child, a unit's; null of a group that says nothing. On a host with both
 * hierarchies containers may be known to the old one only, so every path is asked.
 */
export function cgroupOwner(paths: CgroupPaths, parents: readonly string[]): CgroupOwner | null {
  const all = [paths.unified, ...paths.byController.values()];
  for (const path of all) {
    const pod = podOf(path);
    if (pod !== null) return pod;
  }
  for (const path of all) {
    const containerId = containerOf(path);
    if (containerId !== null) return { kind: "container", containerId };
  }
  for (const parent of parents) {
    const name = childOf(paths.unified, parent);
    if (name !== null) return { kind: "cgroup", name, path: paths.unified };
  }
  for (const path of all) {
    const unit = unitOf(path);
    if (unit !== null) return { kind: "unit", name: unit };
  }
  return null;
}

/** Whether a path lies in one of the subtrees; every path does when none is named. */
export function isBelow(path: string, parents: readonly string[]): boolean {
  return parents.length === 0 || parents.some((parent) => path === trimmed(parent) || path.startsWith(`${trimmed(parent)}/`));
}

/** The first part below `parent`, which may be a group of services itself: what runs deeper belongs to the same service. */
function childOf(path: string, parent: string): string | null {
  const prefix = `${trimmed(parent)}/`;
  if (!path.startsWith(prefix)) return null;
  const name = path.slice(prefix.length).split("/")[0] ?? "";
  return name === "" ? null : name;
}

/**
 * A path as the mounted tree has it: in a control group namespace of its own a process sees paths relative to the root of that (`/../x` is a
 * neighbour), which lies at `root` of the tree. Null of a path that leads out of the tree.
 */
export function resolveGroup(path: string, root: string): string | null {
  const parts = root.split("/").filter((part) => part !== "");
  for (const part of path.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) return null;
    } else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function trimmed(parent: string): string {
  const text = parent.startsWith("/") ? parent : `/${parent}`;
  return text.replace(/\/+$/, "");
}

/**
 * `kubepods…/pod<uid>/<container>` of cgroupfs, and `kubepods-…-pod<uid_with_underscores>.slice/cri-containerd-<container>.scope` of systemd.
 * From inside a control group namespace the first part is not seen (`/../../pod<uid>/…`), so nothing hangs on it.
 */
function podOf(path: string): CgroupOwner | null {
  const uid =
    /(?:^|[/-])pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:\/|$)/.exec(
      path,
    )?.[1];
  return uid === undefined ? null : { kind: "pod", podUid: uid.replaceAll("_", "-"), containerId: containerOf(path) };
}

/** The last part that is a container's id: 64 hex digits, alone or as `docker-<id>.scope`, `cri-containerd-<id>.scope`, `libpod-<id>.scope`. */
function containerOf(path: string): string | null {
  const parts = path.split("/").reverse();
  for (const part of parts) {
    const found = /^(?:[a-z-]{1,32}[-:])?([0-9a-f]{64})(?:\.scope)?$/.exec(part)?.[1];
    if (found !== undefined) return found;
  }
  return null;
}

/** The innermost `x.service` that is not a user's own manager. */
function unitOf(path: string): string | null {
  const parts = path.split("/").reverse();
  for (const part of parts) {
    const found = /^([\w:.@\\-]{1,200})\.service$/.exec(part)?.[1];
    if (found !== undefined && !found.startsWith("user@")) return found.replaceAll("\\x2d", "-");
  }
  return null;
}
