import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { decodeSchedules, type ScheduleCounter } from "../../services/agent/decode-counters.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { type OpenProbe, useProbe } from "./open-probe.ts";

const skipReason = noKernelPrograms;
if (skipReason !== null) process.stdout.write(`test/bpf/schedule.test.ts: ${skipReason}\n`);
const cpuRoot = "/sys/fs/cgroup/cpu";
const hasQuota = existsSync(join(cpuRoot, "cpu.cfs_quota_us"));
const open = useProbe("schedule");
const nsPerMs = 1e6;

/** Runs for so long on the processor, by its own clock of processor time; then prints this time and its runs by /proc. */
const busySource = (ms: number): string => `
  const start = process.cpuUsage();
  let used = 0;
  while (used < ${ms * 1000}) { const u = process.cpuUsage(start); used = u.user + u.system; }
  process.stdout.write(require("node:fs").readFileSync("/proc/self/schedstat", "utf8"));`;

function rowOf(probe: OpenProbe, tgid: number): ScheduleCounter | undefined {
  return probe.rows("schedules", decodeSchedules).find((row) => row.tgid === tgid);
}

it.skipIf(skipReason !== null)("every program loads and is attached", () => {
  const probe = open();
  expect(probe.programs.map((program) => [program.name, program.attached, program.verifierLog])).toEqual([
    ["schedule_switch", true, ""],
    ["schedule_wakeup", true, ""],
    ["schedule_wakeup_new", true, ""],
  ]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("time on the processor is what the kernel accounts to the process", () => {
  const probe = open();
  const { pid, status } = spawnSync(process.execPath, ["-e", busySource(150)]);
  expect(status).toBe(0);
  const row = rowOf(probe, pid);
  expect(row?.runNs).toBeGreaterThan(150 * nsPerMs);
  expect(row?.runNs).toBeLessThan(150 * nsPerMs * 3);
  expect(row?.switches).toBeGreaterThan(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("run time and waits of one thread agree with /proc/PID/schedstat", () => {
  const probe = open();
  // A shell has one thread, so the file of its process is the file of its thread.
  const { pid, stdout } = spawnSync(
    "/bin/sh",
    ["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; read a b c < /proc/$$/schedstat; echo $a $b"],
    {
      encoding: "utf8",
    },
  );
  const [runNs = 0, waitNs = 0] = stdout.trim().split(" ").map(Number);
  const row = rowOf(probe, pid);
  expect(Math.abs((row?.runNs ?? 0) - runNs)).toBeLessThan(runNs * 0.05 + 5 * nsPerMs);
  expect(Math.abs((row?.waitNs ?? 0) - waitNs)).toBeLessThan(waitNs * 0.1 + 5 * nsPerMs);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("work that shares one processor waits for it, and the waits are in the histogram", async () => {
  const probe = open();
  const pair = [1, 2].map(() => spawn("taskset", ["-c", "0", process.execPath, "-e", busySource(200)], { stdio: "ignore" }));
  await Promise.all(pair.map((child) => once(child, "exit")));
  for (const child of pair) {
    const row = rowOf(probe, child.pid ?? 0);
    expect(row?.waitNs).toBeGreaterThan(50 * nsPerMs);
    const waits = row?.waitBuckets.reduce((sum, count) => sum + count, 0);
    expect(waits).toBe(row?.waitCount);
  }
  probe.kernel.close();
});

it.skipIf(skipReason !== null || !hasQuota)("a process that used up its quota waits, as its cgroup says", () => {
  const probe = open();
  const group = join(cpuRoot, `headwater-test-${process.pid}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, "cpu.cfs_quota_us"), "2000");
    const script = `echo $$ > ${group}/cgroup.procs; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done`;
    const { pid } = spawnSync("/bin/sh", ["-c", script]);
    const throttledNs = Number(/throttled_time (\d+)/.exec(readFileSync(join(group, "cpu.stat"), "utf8"))?.[1]);
    expect(throttledNs).toBeGreaterThan(50 * nsPerMs);
    expect(rowOf(probe, pid)?.waitNs).toBeGreaterThan(throttledNs * 0.8);
  } finally {
    rmdirSync(group);
    probe.kernel.close();
  }
});

it.skipIf(skipReason !== null)("only what is watched is counted when the settings say so", () => {
  const probe = open({ settings: { scope: "watched" } });
  const group = "/sys/fs/cgroup/unified/headwater-test-schedule";
  mkdirSync(group, { recursive: true });
  try {
    const cgroup = BigInt(statSync(group).ino);
    probe.watch({ cgroup });
    const { pid } = spawnSync("/bin/sh", ["-c", `echo $$ > ${group}/cgroup.procs; sleep 0.02; true`]);
    const rows = probe.rows("schedules", decodeSchedules);
    expect(rows.find((row) => row.tgid === pid)?.cgroup).toBe(cgroup);
    expect(rows.filter((row) => row.cgroup !== cgroup)).toEqual([]);
  } finally {
    rmdirSync(group);
    probe.kernel.close();
  }
});

it.skipIf(skipReason !== null)("processes for which the map has no room are counted", () => {
  const probe = open({ mapEntriesMax: { schedules: 1 } });
  spawnSync("/bin/sh", ["-c", "sleep 0.02; true"]);
  expect(probe.rows("schedules", decodeSchedules).length).toBeLessThanOrEqual(1);
  expect(probe.lost("HW_LOSS_SCHEDULES")).toBeGreaterThan(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a pause of the programs is neither run time nor a wait", () => {
  const probe = open();
  const pauseMs = 300;
  const sleeper = spawn("/bin/sh", ["-c", "while :; do sleep 0.01; done"], { stdio: "ignore" });
  try {
    spawnSync("sleep", ["0.1"]);
    for (const program of probe.programs) probe.kernel.detach(program.name);
    const before = rowOf(probe, sleeper.pid ?? 0);
    spawnSync("sleep", [String(pauseMs / 1000)]);
    probe.configure({ generation: 1 });
    for (const program of probe.programs) probe.kernel.attachOne(program.name);
    spawnSync("sleep", ["0.1"]);
    const after = rowOf(probe, sleeper.pid ?? 0);
    expect(after?.switches).toBeGreaterThan(before?.switches ?? 0);
    const grown = (after?.runNs ?? 0) + (after?.waitNs ?? 0) - (before?.runNs ?? 0) - (before?.waitNs ?? 0);
    expect(grown).toBeLessThan(pauseMs * nsPerMs);
  } finally {
    sleeper.kill("SIGKILL");
    probe.kernel.close();
  }
});
