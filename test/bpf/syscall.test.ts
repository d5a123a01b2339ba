import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { decodeSyscalls, type SyscallCounter } from "../../services/agent/decode-counters.ts";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import type { SyscallDetail } from "../../services/agent/kernel-event.ts";
import type { SyscallDetailSettings } from "../../services/agent/probe-settings.ts";
import { syscallBits, syscallName } from "../../services/agent/syscall-names.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { compileProgram, type OpenProbe, useProbe } from "./open-probe.ts";
import { parseStrace } from "./strace-log.ts";
import { countedProgram, trickyProgram } from "./syscall-program.ts";

const skipReason = noKernelPrograms;
if (skipReason !== null) process.stdout.write(`test/bpf/syscall.test.ts: ${skipReason}\n`);
const hasStrace = spawnSync("strace", ["-V"]).status === 0;
const open = useProbe("syscall");
const group = `/sys/fs/cgroup/unified/headwater-test-syscall-${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), "headwater-syscall-"));
let counted = "";
let tricky = "";
let cgroup = 0n;

beforeAll(() => {
  if (skipReason !== null) return;
  mkdirSync(group);
  cgroup = BigInt(statSync(group).ino);
  counted = compileProgram(countedProgram, join(folder, "counted"));
  tricky = compileProgram(trickyProgram, join(folder, "tricky"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  if (skipReason === null) rmdirSync(group);
});

/** Runs a command line in the cgroup of this file. */
function run(line: string): { pid: number; status: number | null } {
  return spawnSync("/bin/sh", ["-c", `echo $$ > ${group}/cgroup.procs; exec ${line}`], { stdio: "ignore" });
}

function detail(change: Partial<SyscallDetailSettings> = {}): SyscallDetailSettings {
  const all = { numbers: syscallBits("all"), numbersCompat: syscallBits("all") };
  return { of: "all", tgid: 0, cgroup, command: null, perSecond: 0, ...all, ...change };
}

function details(probe: OpenProbe): SyscallDetail[] {
  return probe.drain("detail_ring").filter((event): event is SyscallDetail => event.type === "syscall");
}

function rowOf(probe: OpenProbe, tgid: number, name: string): SyscallCounter | undefined {
  return probe.rows("syscalls", decodeSyscalls).find((row) => row.tgid === tgid && syscallName(row.number) === name);
}

const openatOnly = { numbers: syscallBits(["openat"]), numbersCompat: syscallBits([]) };

it.skipIf(skipReason !== null)("every program loads and is attached", () => {
  const probe = open();
  expect(probe.programs.map((program) => [program.name, program.attached, program.verifierLog])).toEqual([
    ["syscall_enter", true, ""],
    ["syscall_exit", true, ""],
  ]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("calls, errors and latency are counted exactly by process and call", () => {
  const probe = open();
  const { pid } = run(`${counted} 500`);
  const failing = rowOf(probe, pid, "truncate");
  expect(rowOf(probe, pid, "sched_yield")).toMatchObject({ count: 500, errors: 0, cgroup });
  expect(failing).toMatchObject({ count: 500, errors: 500 });
  expect(failing?.buckets.reduce((sum, count) => sum + count, 0)).toBe(500);
  const sleep = rowOf(probe, pid, "nanosleep") ?? rowOf(probe, pid, "clock_nanosleep");
  expect(sleep?.sumNs).toBeGreaterThan(20e6);
  expect(sleep?.buckets.slice(24).reduce((sum, count) => sum + count, 0)).toBe(1);
  expect(rowOf(probe, pid, "exit_group")).toMatchObject({ count: 1, sumNs: 0 });
  expect(probe.lost("HW_LOSS_SYSCALLS")).toBe(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null || !hasStrace)("records are the calls that strace sees, thread by thread, with the same results", () => {
  const probe = open();
  probe.configure({ detail: detail() });
  const log = join(folder, "strace.log");
  expect(run(`strace -f -s 0 -o ${log} ${tricky}`).status).toBe(0);
  const ours = new Map<number, SyscallDetail[]>();
  for (const call of details(probe)) ours.set(call.tid, [...(ours.get(call.tid) ?? []), call]);
  const theirs = parseStrace(readFileSync(log, "utf8"));
  expect(theirs.size).toBe(9);
  const seen = new Set<string>();
  for (const [index, [tid, calls]] of [...theirs].entries()) {
    const own = ours.get(tid) ?? [];
    // The first thread was strace's own child until it executed the program.
    const from = index === 0 ? own.findIndex((call) => call.text === tricky) : 0;
    const named = own.slice(from).map((call) => syscallName(call.number));
    expect(named.map((name) => name.replace("/32", ""))).toEqual(calls.map((call) => call.name));
    for (const [position, call] of calls.entries()) {
      seen.add(call.name);
      const result = own[from + position]?.result ?? Number.NaN;
      if (call.result !== null) expect(call.result === -1 ? Math.sign(result) : result).toBe(call.result);
    }
  }
  for (const name of ["vfork", "restart_syscall", "rt_sigreturn", "exit", "exit_group", "execve", "pause", "rename"]) {
    expect(seen).toContain(name);
  }
  expect([probe.lost("HW_LOSS_DETAIL_RING"), probe.lost("HW_LOSS_LIMITED"), probe.decoder.rejected.length]).toEqual([0, 0, 0]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("paths and arguments are the text of a record, also of 32-bit calls and of an execve that fails", () => {
  const probe = open();
  probe.configure({ detail: detail() });
  const { pid } = run(tricky);
  const all = details(probe);
  const texts = all.map((call) => [syscallName(call.number), call.text, call.result] as const);
  expect(texts).toContainEqual(["openat", "/nowhere/a file", -2]);
  expect(texts).toContainEqual(["rename", "/nowhere/from /nowhere/to", -2]);
  expect(texts.find(([name]) => name === "newfstatat" || name === "stat")?.[1]).toBe("/etc/passwd");
  expect(texts).toContainEqual(["openat", "", -14]);
  expect(texts.find(([name]) => name === "open/32")?.[1]).toBe("/etc/hostname");
  expect(texts).toContainEqual(["access/32", "/nowhere/compat", -2]);
  expect(texts).toContainEqual(["execve", "/nowhere/program x", -2]);
  expect(texts).toContainEqual(["execve", `${tricky} again two words`, 0]);
  // A pointer that the program got wrong is no loss of ours.
  expect(probe.lost("HW_LOSS_UNREADABLE")).toBe(0);
  const own = all.filter((call) => call.tgid === pid && call.text === "/nowhere/a file");
  expect(own).toHaveLength(1);
  expect(own[0]).toMatchObject({ command: "tricky", parentTgid: process.pid, cgroup });
  expect(own[0]?.durationNs).toBeGreaterThan(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a process, a command or a set of calls can be asked for alone", () => {
  const probe = open();
  probe.configure({ detail: detail({ ...openatOnly, cgroup: 0n, command: "counted" }) });
  const first = run(`${counted} 3`);
  run(tricky);
  const records = details(probe);
  expect(records.map((call) => [call.tgid, syscallName(call.number)])).toEqual(Array(3).fill([first.pid, "openat"]));
  probe.configure({ detail: detail({ ...openatOnly, tgid: 1 }) });
  run(`${counted} 3`);
  expect(details(probe).filter((call) => call.tgid !== 1)).toEqual([]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("records of what is watched can be had beside counts of everything", () => {
  const probe = open();
  probe.configure({ detail: detail({ ...openatOnly, of: "watched", cgroup: 0n }) });
  const unwatched = run(`${counted} 3`);
  expect(details(probe)).toEqual([]);
  expect(rowOf(probe, unwatched.pid, "truncate")?.count).toBe(3);
  probe.watch({ cgroup });
  const watched = run(`${counted} 3`);
  expect(
    details(probe)
      .filter((call) => call.text === "/nowhere/counted")
      .map((call) => call.tgid),
  ).toEqual(Array(3).fill(watched.pid));
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("without counts there are the same records and no rows", () => {
  const probe = open({ settings: { counts: "off" } });
  probe.configure({ detail: detail({ numbers: syscallBits(["openat", "execve", "exit_group"]) }) });
  const { pid } = run(`${counted} 7`);
  const records = details(probe).filter((call) => call.tgid === pid && call.command === "counted");
  expect(records.map((call) => syscallName(call.number))).toEqual(["execve", ...Array(7).fill("openat"), "exit_group"]);
  expect(records[0]?.text).toBe(`${counted} 7`);
  for (const record of records.slice(0, -1)) expect(record.durationNs).toBeGreaterThan(0);
  expect(probe.rows("syscalls", decodeSyscalls)).toEqual([]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("text that is not in memory at the entry is read all the same, and what cannot be read is counted", () => {
  const probe = open();
  probe.configure({ detail: detail() });
  const source = `
    #include <fcntl.h>
    #include <sys/inotify.h>
    #include <sys/mman.h>
    #include <unistd.h>
    int main(int count, char **arguments) {
      int file = open(arguments[1], O_RDONLY);
      char *fresh[3];
      for (int index = 0; index < 3; index++) fresh[index] = mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
      char *next[] = { "x", fresh[2], 0 };
      open(fresh[0], O_RDONLY);
      execve(fresh[1], next, 0);
      inotify_add_watch(-1, (char *)16, IN_OPEN);
      return count == 2 ? 0 : 1;
    }`;
  const path = join(folder, "path");
  writeFileSync(path, "/nowhere/paged out\0");
  const { status } = run(`${compileProgram(source, join(folder, "fresh"))} ${path}`);
  expect(status).toBe(0);
  const calls = details(probe).filter((call) => call.command === "fresh");
  const failed = (name: string): SyscallDetail | undefined => calls.find((call) => call.result === -2 && syscallName(call.number) === name);
  expect(failed("openat")?.text).toBe("/nowhere/paged out");
  // The kernel looks for the file before it reads the arguments: those are not in memory at the exit either.
  expect(failed("execve")?.text).toBe("/nowhere/paged out");
  expect(calls.find((call) => syscallName(call.number) === "inotify_add_watch")).toMatchObject({ result: -9, text: "" });
  expect(probe.lost("HW_LOSS_UNREADABLE")).toBe(2);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a process over its rate loses records, and each lost one is counted", () => {
  const probe = open();
  probe.configure({ detail: detail({ ...openatOnly, command: "counted", perSecond: 10 }) });
  run(`${counted} 400`);
  const records = details(probe).length;
  expect(records).toBeGreaterThanOrEqual(10);
  expect(records).toBeLessThan(100);
  expect(records + probe.lost("HW_LOSS_LIMITED")).toBe(400);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("what does not fit into the ring or the map is counted", () => {
  const probe = open({ ringBytes: { detail_ring: 4096 }, mapEntriesMax: { syscalls: 1 } });
  probe.configure({ detail: detail({ ...openatOnly, command: "counted" }) });
  run(`${counted} 300`);
  const records = details(probe).length;
  expect(records).toBeGreaterThan(10);
  expect(records + probe.lost("HW_LOSS_DETAIL_RING")).toBe(300);
  expect(probe.lost("HW_LOSS_SYSCALLS")).toBeGreaterThan(300);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a call in flight at attach has no duration, also after a pause of the programs", async () => {
  const probe = open();
  const sleep = { numbers: syscallBits(["nanosleep", "clock_nanosleep"]), numbersCompat: syscallBits([]) };
  const child = spawn("/bin/sleep", ["0.4"], { stdio: "ignore" });
  const ended = once(child, "exit");
  for (let generation = 1; generation <= 2; generation += 1) {
    spawnSync("/bin/sleep", ["0.05"]);
    for (const program of probe.programs) probe.kernel.detach(program.name);
    probe.configure({ generation, detail: detail({ ...sleep, cgroup: 0n, tgid: child.pid ?? 0 }) });
    for (const program of probe.programs) probe.kernel.attachOne(program.name);
  }
  await ended;
  const records = details(probe);
  expect(records).toHaveLength(1);
  expect(records[0]).toMatchObject({ result: 0, durationNs: 0, flags: eventNumbers.HW_FLAG_EXISTING });
  expect(rowOf(probe, child.pid ?? 0, "clock_nanosleep")).toBeUndefined();
  expect(rowOf(probe, child.pid ?? 0, "exit_group")?.count).toBe(1);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("sys_exit alone gives paths and results without durations", () => {
  const probe = open({ programs: (name) => name === "syscall_exit" });
  probe.configure({ detail: detail({ ...openatOnly, command: "counted" }) });
  run(`${counted} 5`);
  const records = details(probe);
  expect(records.map((call) => [call.text, call.result, call.durationNs])).toEqual(Array(5).fill(["/nowhere/counted", -2, 0]));
  probe.kernel.close();
});
