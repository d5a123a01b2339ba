import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { ProgramInfo } from "../../../native/kernel-probe.ts";
import {
  capabilitiesMissing,
  diagnose,
  type InstallationFacts,
  type TriedObject,
  troubleOf,
  verdictOf,
} from "../../../services/agent/doctor.ts";
import { capabilitiesOf, type HostFacts, readHostFacts } from "../../../services/agent/host-facts.ts";

const root = mkdtempSync(join(tmpdir(), "headwater-host-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function places(name: string, files: Readonly<Record<string, string>>): { proc: string; sys: string } {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name, path)), { recursive: true });
    writeFileSync(join(root, name, path), text);
  }
  return { proc: join(root, name, "proc"), sys: join(root, name, "sys") };
}

const host: HostFacts = {
  kernel: "6.1.0",
  uid: 0,
  capabilities: ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_BPF"],
  typeInformation: "there",
  lockdown: "none",
  cgroups: { unified: "/sys/fs/cgroup", legacy: [] },
};
const installation: InstallationFacts = { addon: null, compiler: "clang version 14" };

function program(change: Partial<ProgramInfo>): ProgramInfo {
  const counts = { runCount: 0, runNs: 0, missed: 0 };
  const works = { wanted: true, loaded: true, attached: true, errno: 0, reason: "", verifierLog: "", ...counts };
  return { name: "hw_request_sent", object: "request", section: "tp_btf/sock_send_length", ...works, ...change };
}

function tried(...programs: readonly ProgramInfo[]): TriedObject {
  const name = programs[0]?.object ?? "request";
  return { name, path: `/x/${name}.bpf.o`, object: { name, path: `/x/${name}.bpf.o`, errno: 0, reason: "" }, programs };
}

const failing = { loaded: false, attached: false };
const rowsOf = (facts: HostFacts, ...objects: readonly TriedObject[]) =>
  diagnose(facts, installation, objects).filter(({ about }) => about === "program");

describe("the facts of a machine", () => {
  it("are the effective capabilities by name, BTF, lockdown and both cgroup hierarchies", () => {
    const facts = readHostFacts(
      "6.18.44",
      places("full", {
        "proc/self/status": "Name:\tx\nUid:\t1000\t1001\t1000\t1000\nCapEff:\t000000c000000000\n",
        "proc/self/cgroup": "3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n",
        "sys/kernel/btf/vmlinux": "",
        "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
        "sys/fs/cgroup/unified/cgroup.controllers": "",
      }),
    );
    expect(facts).toEqual({
      kernel: "6.18.44",
      uid: 1001,
      capabilities: ["CAP_PERFMON", "CAP_BPF"],
      typeInformation: "there",
      lockdown: "integrity",
      cgroups: { unified: join(root, "full/sys/fs/cgroup/unified"), legacy: ["cpu", "cpuacct"] },
    });
  });

  it("are unknown or missing where the files are not there", () => {
    const facts = readHostFacts("5.4.0", places("bare", { "proc/self/status": "nothing of use\n" }));
    expect(facts).toMatchObject({ uid: Number.NaN, capabilities: [], typeInformation: "missing", lockdown: "unknown" });
    expect(facts.cgroups).toEqual({ unified: null, legacy: [] });
  });

  it("names capabilities by their bits, and those of a newer kernel by number", () => {
    expect(capabilitiesOf("0000000000200001")).toEqual(["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    expect(capabilitiesOf("0000020000000000")).toEqual(["CAP_41"]);
    expect(capabilitiesOf("0000010000000000")).toEqual(["CAP_CHECKPOINT_RESTORE"]);
  });
});

describe("what a kind of program needs", () => {
  it.each([
    ["tp_btf/sys_enter", ["CAP_BPF", "CAP_PERFMON"]],
    ["iter/task_file", ["CAP_BPF", "CAP_PERFMON"]],
    ["tp/syscalls/sys_enter_open", ["CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH"]],
    ["cgroup_skb/egress", ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]],
    ["uprobe//lib/x.so:f", ["CAP_SYS_ADMIN"]],
  ])("%s", (section, needed) => {
    expect(capabilitiesMissing(section, [])).toEqual(needed);
    expect(capabilitiesMissing(section, needed)).toEqual([]);
  });

  it("CAP_SYS_ADMIN includes the two of BPF, and not the others", () => {
    expect(capabilitiesMissing("tp_btf/x", ["CAP_SYS_ADMIN"])).toEqual([]);
    expect(capabilitiesMissing("tc/x", ["CAP_SYS_ADMIN"])).toEqual(["CAP_NET_ADMIN"]);
  });
});

describe("the right to name processes", () => {
  it("takes both capabilities", () => {
    for (const missing of ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]) {
      const capabilities = host.capabilities.filter((name) => name !== missing);
      const row = diagnose({ ...host, capabilities }, installation, []).find(({ name }) => name === "right to name processes");
      expect(row).toMatchObject({ state: "lost", finding: `${missing} is missing: /proc/PID/environ of other users cannot be read` });
    }
    expect(diagnose(host, installation, []).map(({ name }) => name)).not.toContain("right to name processes");
  });
});

describe("rows of programs", () => {
  it("one number means a right here, a lockdown there, and else the kernel", () => {
    const refused = tried(program({ ...failing, errno: 1, reason: "Operation not permitted: words" }));
    const finding = (change: Partial<HostFacts>) => rowsOf({ ...host, ...change }, refused)[0]?.finding;
    expect(finding({ capabilities: ["CAP_BPF"] })).toBe("not loaded: CAP_PERFMON missing");
    expect(finding({ lockdown: "confidentiality" })).toBe(
      "not loaded: programs of kind tp_btf are refused by the kernel's lockdown (confidentiality)",
    );
    expect(finding({})).toBe("not loaded: programs of kind tp_btf are refused by the kernel");
  });

  it("a tracepoint that the kernel has not is named, with what is lost and what to do", () => {
    const gone = tried(program({ ...failing, errno: 3, reason: "No such process: words; libbpf: prog 'x': failed\nmore" }));
    expect(rowsOf(host, gone)[0]).toMatchObject({
      state: "lost",
      finding: "not loaded: this kernel has no sock_send_length: No such process: words",
      lost: "requests: protocol, operation, status, latency; the fallback takes over",
      remedy: "a newer kernel, or one built with it",
    });
  });

  it("an iterator that is loaded works, though it is never attached; another program does not", () => {
    const iterator = program({ name: "hw_list_listeners", object: "socket-iterator", section: "iter/task_file", attached: false });
    expect(rowsOf(host, tried(iterator))[0]?.state).toBe("works");
    const unattached = program({ attached: false, errno: 95, reason: "cannot be attached: words" });
    expect(rowsOf(host, tried(unattached))[0]).toMatchObject({ state: "lost", finding: "not attached: cannot be attached: words" });
  });

  it("the fallback is lost only where the programs that it stands in for are", () => {
    const fallback = tried(program({ ...failing, object: "request-fallback", name: "hw_request_exit", errno: 22, reason: "no" }));
    const works = [tried(program({})), fallback];
    expect(rowsOf(host, ...works).map(({ state }) => state)).toEqual(["works", "note"]);
    expect(verdictOf(diagnose(host, installation, works))).toBe("everything works");
    const without = [tried(program({ ...failing, errno: 3, reason: "no" })), fallback];
    expect(rowsOf(host, ...without).map(({ state }) => state)).toEqual(["lost", "lost"]);
  });

  it("an object that cannot be read is a row of its own", () => {
    const object = { name: "block", path: "/x/block.bpf.o", errno: 2, reason: "/x/block.bpf.o cannot be opened: words; libbpf: elf" };
    const rows = rowsOf(host, { name: "block", path: "/x/block.bpf.o", object, programs: [] });
    expect(rows).toMatchObject([{ name: "block", state: "lost", finding: "/x/block.bpf.o cannot be opened: words" }]);
  });
});

describe("the verdict", () => {
  const nothing: TriedObject = { name: "request", path: null, object: null, programs: [] };

  it("is about what can be loaded", () => {
    expect(verdictOf(diagnose(host, installation, [tried(program({}))]))).toBe("everything works");
    expect(verdictOf(diagnose({ ...host, capabilities: ["CAP_SYS_ADMIN"] }, installation, [tried(program({}))]))).toBe("something is lost");
    expect(verdictOf(diagnose(host, installation, [nothing]))).toBe("nothing can be loaded");
  });

  it("without the addon or without BTF no program is blamed", () => {
    const found = { ...nothing, path: "/x/request.bpf.o" };
    const rows = diagnose(host, { ...installation, addon: "it is not built" }, [found]);
    expect(rows.find(({ name }) => name === "addon")).toMatchObject({ state: "lost", finding: "it is not built" });
    expect(rows.at(-1)).toMatchObject({ state: "lost", finding: "not tried: see the rows of the host" });
    expect(verdictOf(diagnose({ ...host, typeInformation: "missing" }, installation, [found]))).toBe("nothing can be loaded");
  });
});

describe("the one line of a live command", () => {
  it("names the capability, or the program and the kernel", () => {
    const refused = program({ ...failing, errno: 1, reason: "Operation not permitted" });
    expect(troubleOf([refused], [], { ...host, capabilities: [] })).toBe(
      "this process lacks CAP_BPF and CAP_PERFMON: run it as root, or grant them",
    );
    expect(troubleOf([refused], [], host)).toBe("program hw_request_sent is not loaded on kernel 6.1.0: Operation not permitted");
    expect(troubleOf([program({}), program({ ...failing, wanted: false })], [], host)).toBeNull();
    expect(troubleOf([], [{ name: "a", path: "/a", errno: 2, reason: "/a cannot be opened" }], host)).toBe("/a cannot be opened");
  });
});
