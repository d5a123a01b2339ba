import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findHierarchies, groupFolders, LabGroups } from "../../lab/cgroup.ts";

/** Files where the kernel would have groups: paths and what is written are seen, nothing is limited. */
let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lab-cgroup-"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function hybrid(): void {
  for (const name of ["unified", "cpu", "memory", "blkio"]) mkdirSync(join(root, name));
  writeFileSync(join(root, "unified/cgroup.controllers"), "\n");
  for (const name of ["cpu", "memory", "blkio"]) writeFileSync(join(root, name, "cgroup.procs"), "");
}

function v2(): void {
  writeFileSync(join(root, "cgroup.controllers"), "cpu io memory pids\n");
}

const read = (path: string): string => readFileSync(join(root, path), "utf8");

describe("the hierarchies of a machine", () => {
  it("are the unified one and those of v1 that can limit, on a host with both", () => {
    hybrid();
    const found = findHierarchies(root);
    expect(groupFolders(found, "lab", "shop")).toEqual(
      ["unified", "cpu", "memory", "blkio"].map((name) => join(root, name, "lab", "shop")),
    );
  });

  it("are the unified one alone, on a host with v2", () => {
    v2();
    expect(findHierarchies(root)).toEqual({ unified: root, v1: {} });
  });

  it("are none where there are none, which is an error with a reason", () => {
    expect(findHierarchies(root)).toEqual({ unified: null, v1: {} });
    expect(() => LabGroups.open(1, findHierarchies(root))).toThrow("there is no unified hierarchy of control groups (cgroup v2)");
  });
});

describe("the groups of a shop", () => {
  it("have one name in every hierarchy, which says whose they are", () => {
    hybrid();
    const groups = LabGroups.open(4_321, findHierarchies(root));
    groups.place("cart", process.pid);
    expect(groups.path).toBe("/headwater-lab-4321");
    for (const name of ["unified", "cpu", "memory", "blkio"]) {
      expect(read(`${name}/headwater-lab-4321/cart/cgroup.procs`)).toBe(String(process.pid));
    }
  });

  it("limit by the files of v1 where that is there, and by those of v2 else", () => {
    hybrid();
    const quota = { quotaUs: 5_000, periodUs: 250_000 };
    const old = LabGroups.open(1, findHierarchies(root));
    old.place("cart", process.pid);
    old.limitCpu("cart", quota);
    old.limitMemory("cart", 1_000);
    old.limitWrites("cart", "254:0", 8_192);
    expect(read("cpu/headwater-lab-1/cart/cpu.cfs_quota_us")).toBe("5000");
    expect(read("cpu/headwater-lab-1/cart/cpu.cfs_period_us")).toBe("250000");
    expect(read("memory/headwater-lab-1/cart/memory.limit_in_bytes")).toBe("1000");
    expect(read("blkio/headwater-lab-1/cart/blkio.throttle.write_bps_device")).toBe("254:0 8192");
    old.limitCpu("cart", null);
    expect(read("cpu/headwater-lab-1/cart/cpu.cfs_quota_us")).toBe("-1");
  });

  it("hand controllers down with v2 alone, and name what is missing", () => {
    v2();
    const groups = LabGroups.open(1, findHierarchies(root));
    expect(read("headwater-lab-1/cgroup.subtree_control")).toBe("+io");
    groups.place("cart", process.pid);
    groups.limitCpu("cart", { quotaUs: 5_000, periodUs: 250_000 });
    groups.limitWrites("cart", "254:0", null);
    expect(read("headwater-lab-1/cart/cpu.max")).toBe("5000 250000");
    expect(read("headwater-lab-1/cart/io.max")).toBe("254:0 wbps=max");
    expect(() => groups.share("node-1", { services: [], neighbour: [], weight: 1, quotaUs: 1, periodUs: 1 })).toThrow(
      "needs the v1 hierarchy",
    );
    writeFileSync(join(root, "cgroup.controllers"), "memory\n");
    expect(groups.missing("cpu")).toBe("there is no control group controller cpu");
    expect(groups.missing("memory")).toBeNull();
  });

  it("of a lab that was killed are removed when another one starts", () => {
    hybrid();
    for (const pid of [4_194_304, process.pid]) mkdirSync(join(root, `unified/headwater-lab-${pid}/cart`), { recursive: true });
    LabGroups.open(1, findHierarchies(root));
    expect(existsSync(join(root, "unified/headwater-lab-4194304"))).toBe(false);
    expect(existsSync(join(root, `unified/headwater-lab-${process.pid}`))).toBe(true);
  });
});
