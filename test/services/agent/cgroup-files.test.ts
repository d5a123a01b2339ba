import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CgroupFiles } from "../../../services/agent/cgroup-files.ts";
import { parseCgroups, resolveGroup } from "../../../services/agent/cgroup-path.ts";

it("a path is resolved against the place where the namespace begins, and never leads out of the tree", () => {
  const resolved = (path: string) => resolveGroup(path, "/kube/pod1/agent");
  expect(["/", "/worker", "/..", "/../../pod2/web", "/../../../.."].map(resolved)).toEqual([
    "/kube/pod1/agent",
    "/kube/pod1/agent/worker",
    "/kube/pod1",
    "/kube/pod2/web",
    null,
  ]);
});

describe("in a control group namespace of our own, with the node's tree mounted,", () => {
  const root = mkdtempSync(join(tmpdir(), "headwater-cgroups-"));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  beforeAll(() => {
    for (const path of ["unified/kube/pod1/agent", "unified/kube/pod2/web", "cpu,cpuacct/node/agent", "cpu,cpuacct/node/web"]) {
      mkdirSync(join(root, path), { recursive: true });
      writeFileSync(join(root, path, "cgroup.procs"), path.endsWith("agent") ? "7\n4711\n" : "47\n471\n");
    }
    writeFileSync(join(root, "unified/cgroup.controllers"), "");
    writeFileSync(join(root, "unified/kube/pod2/web/cpu.stat"), "throttled_usec 77\n");
  });
  const files = (own: string, pid = 4711) => new CgroupFiles(root, { pid, paths: parseCgroups(own) });
  const neighbour = parseCgroups("3:cpu,cpuacct:/../web\n0::/../../pod2/web\n");

  it("paths of either hierarchy are those of the tree", () => {
    const { unified, byController } = files("3:cpu,cpuacct:/\n0::/\n").resolve(neighbour);
    expect([unified, ...byController]).toEqual(["/kube/pod2/web", ["cpu", "/node/web"], ["cpuacct", "/node/web"]]);
    expect(files("0::/agent\n").resolve(parseCgroups("0::/../pod2/web\n")).unified).toBe("/kube/pod2/web");
  });

  it("a neighbour has an id and can be throttled", () => {
    const own = files("3:cpu,cpuacct:/\n0::/\n");
    expect([own.id("v2", neighbour), own.throttledNs(neighbour)]).toEqual([null, null]);
    const resolved = own.resolve(neighbour);
    expect(own.throttledNs(resolved)).toBe(77_000);
    expect(own.idsBelow(["/kube/pod2"], 10)).toContain(own.id("v2", resolved));
  });

  it("paths stay as they are where we are not in the tree, and without a namespace", () => {
    expect(files("0::/\n", 99).resolve(neighbour)).toEqual(neighbour);
    const whole = parseCgroups("0::/kube/pod2/web\n");
    expect(files("0::/kube/pod1/agent\n").resolve(whole)).toEqual(whole);
  });
});

const tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((path) => existsSync(join(path, "cgroup.controllers")));
const skipReason = ((): string | null => {
  if (tree === undefined) return "there is no cgroup v2";
  if (process.getuid?.() !== 0) return "control groups are made as root only";
  return spawnSync("unshare", ["-C", "true"]).status === 0 ? null : "unshare cannot make control group namespaces";
})();

/** Told by a process that has a control group namespace of its own, of one that is in the group beside it. */
const asks = (pid: number) => `
import { CgroupFiles } from ${JSON.stringify(new URL("../../../services/agent/cgroup-files.ts", import.meta.url).href)};
import { ProcessFiles } from ${JSON.stringify(new URL("../../../services/agent/process-files.ts", import.meta.url).href)};
const files = new CgroupFiles();
const plain = new ProcessFiles().facts(${pid}).cgroups;
const resolved = new ProcessFiles("/proc", (paths) => files.resolve(paths)).facts(${pid}).cgroups;
const id = files.id("v2", resolved);
console.log(JSON.stringify([plain.unified, resolved.unified, files.idsBelow([resolved.unified], 1).includes(id)]));
`;

it.skipIf(skipReason !== null)("the kernel's own paths of a neighbour lead to its group from inside a namespace", async () => {
  const name = `headwater-namespace-${process.pid}`;
  const path = join(tree ?? "", name);
  for (const part of ["", "agent", "web"]) mkdirSync(join(path, part));
  const neighbour = spawn("sleep", ["60"], { stdio: "ignore" });
  try {
    writeFileSync(join(path, "web/cgroup.procs"), String(neighbour.pid));
    const enter = `echo $$ > ${path}/agent/cgroup.procs && exec unshare -C "$@"`;
    const program = [process.execPath, "--import", "tsx", "--input-type=module", "--eval", asks(neighbour.pid ?? 0)];
    const child = spawnSync("sh", ["-c", enter, "sh", ...program], { encoding: "utf8", cwd: join(import.meta.dirname, "../../..") });
    expect([child.stderr, child.stdout]).toEqual(["", `${JSON.stringify(["/../web", `/${name}/web`, true])}\n`]);
  } finally {
    neighbour.kill("SIGKILL");
    await once(neighbour, "exit");
    for (const part of ["agent", "web", ""]) rmdirSync(join(path, part));
  }
});
