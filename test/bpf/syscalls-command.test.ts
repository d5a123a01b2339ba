import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { SyscallFrequency, SyscallLine } from "../../services/agent/live-syscalls.ts";
import { runSyscalls, type SyscallsOptions } from "../../services/command/syscalls.ts";
import { noKernelPrograms as skipReason } from "../native/bpf-object.ts";
import { useLiveRuns } from "./live-run.ts";
import { compileProgram } from "./open-probe.ts";
import { parseStrace } from "./strace-log.ts";

if (skipReason !== null) process.stdout.write(`test/bpf/syscalls-command.test.ts: ${skipReason}\n`);
const hasStrace = spawnSync("strace", ["-V"]).status === 0;
const live = useLiveRuns(["syscall"]);
/** As long as the requirement says, where there is time. */
const busyMs = process.env.HEADWATER_TEST_FULL === "yes" ? 10_000 : 1_500;
const group = `/headwater-test-syscalls-${process.pid}`;
const groupFolder = `/sys/fs/cgroup/unified${group}`;
let busy = "";

/** Waits for a byte, then makes calls for so many milliseconds: some with text, some that fail, one that sleeps. */
const busyProgram = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static long now(void) { struct timespec at; clock_gettime(CLOCK_MONOTONIC, &at); return at.tv_sec * 1000 + at.tv_nsec / 1000000; }
int main(int count, char **arguments) {
  char byte;
  struct timespec pause = { .tv_nsec = 1000000 };
  if (read(0, &byte, 1) != 1) return 1;
  for (long end = now() + atoi(arguments[1]); now() < end;) {
    syscall(SYS_getppid);
    close(open("/etc/hostname", O_RDONLY));
    open("/nowhere/busy", O_RDONLY);
    nanosleep(&pause, 0);
  }
  return 0;
}`;

beforeAll(() => {
  if (skipReason !== null) return;
  mkdirSync(groupFolder);
  busy = compileProgram(busyProgram, join(live.folder, "busy"));
});
afterAll(() => {
  if (skipReason === null) rmdirSync(groupFolder);
});

function options(change: Partial<SyscallsOptions>): SyscallsOptions {
  return { pid: null, command: null, cgroup: null, syscall: "all", view: "lines", seconds: null, format: "json", ...change };
}

/** The program, waiting for its byte. */
function waiting(milliseconds: number): ChildProcess & { readonly pid: number } {
  const line = `echo $$ > ${groupFolder}/cgroup.procs; exec ${busy} ${milliseconds}`;
  const child = spawn("/bin/sh", ["-c", line], { stdio: ["pipe", "ignore", "ignore"] });
  expect(child.pid).toBeGreaterThan(0);
  return child as ChildProcess & { readonly pid: number };
}

async function untilIn(pid: number, file: string, pattern: RegExp): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!pattern.test(readFileSync(`/proc/${pid}/${file}`, "utf8"))) {
    if (Date.now() > deadline) expect.fail(`/proc/${pid}/${file} never was ${pattern}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function untilWaiting(child: { readonly pid: number }): Promise<void> {
  await untilIn(child.pid, "comm", /^busy$/m);
  // 0 is read: it waits for its byte.
  await untilIn(child.pid, "syscall", /^0 /);
}

it.skipIf(skipReason !== null || !hasStrace)(
  "the calls of a process are those that strace sees at the same time, none missing",
  async () => {
    const child = waiting(busyMs);
    await untilWaiting(child);
    const log = join(live.folder, "strace.log");
    const strace = spawn("strace", ["-f", "-s", "0", "-p", String(child.pid), "-o", log], { stdio: "ignore" });
    await untilIn(child.pid, "status", /^TracerPid:\s+[1-9]/m);
    await untilWaiting(child);
    const run = live.start();
    const ended = runSyscalls(options({ pid: child.pid }), run.surroundings);
    await run.untilObserving();
    child.stdin?.end("x");
    await once(strace, "exit");
    // It ends with the process.
    expect(await ended).toBe(0);
    const ours = run.rows<SyscallLine>();
    const theirs = parseStrace(readFileSync(log, "utf8")).get(child.pid) ?? [];
    expect(theirs.length).toBeGreaterThan(500);
    expect(ours.map((line) => line.syscall)).toEqual(theirs.map(({ name }) => name));
    const results = theirs.map(({ result }) => result);
    expect(ours.map(({ result }, index) => (results[index] === null ? null : results[index] === -1 ? Math.sign(result) : result))).toEqual(
      results,
    );
    expect(run.end()).toEqual({ ended: true, shown: ours.length, lost: {} });
    process.stdout.write(`syscalls and strace: ${ours.length} calls each\n`);
  },
);

it.skipIf(skipReason !== null)("a line says who called what when, how it ended, how long it took, and with which path", async () => {
  const child = waiting(50);
  await untilWaiting(child);
  const run = live.start();
  const beganMs = Date.now();
  const ended = runSyscalls(options({ cgroup: group, syscall: "openat,exit_group" }), run.surroundings);
  await run.untilObserving();
  child.stdin?.end("x");
  await once(child, "exit");
  run.stop();
  expect(await ended).toBe(0);
  const lines = run.rows<SyscallLine>();
  expect(new Set(lines.map((line) => line.syscall))).toEqual(new Set(["openat", "exit_group"]));
  const failing = lines.find((line) => line.text === "/nowhere/busy");
  expect(failing).toMatchObject({ pid: child.pid, command: "busy", syscall: "openat", result: -2, error: "ENOENT" });
  expect(failing?.durationNs).toBeGreaterThan(0);
  expect(lines.find((line) => line.text === "/etc/hostname")).toMatchObject({ error: null });
  const atMs = Date.parse(failing?.at ?? "");
  expect(atMs).toBeGreaterThanOrEqual(beganMs - 50);
  expect(atMs).toBeLessThanOrEqual(Date.now() + 50);
});

it.skipIf(skipReason !== null)("people get columns with titles, and the losses at the end", async () => {
  const child = waiting(20);
  await untilWaiting(child);
  const run = live.start();
  const ended = runSyscalls(options({ command: "busy", syscall: "openat", format: "text" }), run.surroundings);
  await run.untilObserving();
  child.stdin?.end("x");
  await once(child, "exit");
  run.stop();
  expect(await ended).toBe(0);
  expect(run.lines[0]).toMatch(/^ +PID COMMAND +SYSCALL +TIMESTAMP +RESULT +DURATION PATH OR ARGUMENTS$/);
  const line = run.lines.find((one) => one.includes("/nowhere/busy"));
  expect(line).toMatch(
    new RegExp(`^ *${child.pid} busy +openat +\\d\\d:\\d\\d:\\d\\d\\.\\d{6} -ENOENT +[\\d.]+ (ns|µs|ms) /nowhere/busy$`),
  );
  expect(run.told.at(-1)).toMatch(/^\d+ calls; nothing was lost$/);
});

it.skipIf(skipReason !== null)("--top counts calls, errors and durations of a second", async () => {
  const child = waiting(3_500);
  await untilWaiting(child);
  const run = live.start();
  const ended = runSyscalls(options({ pid: child.pid, view: "top" }), run.surroundings);
  await run.untilObserving();
  child.stdin?.write("x");
  const tables = (): { rows: SyscallFrequency[] }[] => run.rows();
  await run.until("two readings", () => tables().filter(({ rows }) => rows.length > 0).length >= 2);
  run.stop();
  expect(await ended).toBe(0);
  child.kill();
  const rows = tables().findLast((table) => table.rows.some((row) => row.syscall === "openat"))?.rows ?? [];
  const of = (name: string) => rows.find((row) => row.syscall === name);
  expect(of("openat")).toMatchObject({ pid: child.pid, command: "busy" });
  const openat = of("openat")?.callsPerSecond ?? Number.NaN;
  expect(openat / (of("close")?.callsPerSecond ?? 0)).toBeCloseTo(2, 0);
  expect((of("openat")?.errorsPerSecond ?? 0) / openat).toBeCloseTo(0.5, 1);
  // The sleep takes a millisecond and more, in buckets of powers of two.
  const sleep = of("nanosleep") ?? of("clock_nanosleep");
  expect(sleep?.p50Ns).toBeGreaterThan(0.9e6);
});

it.skipIf(skipReason !== null)("what does not exist is refused with its name", async () => {
  const run = live.start();
  const refused = (change: Partial<SyscallsOptions>) => runSyscalls(options(change), run.surroundings);
  await expect(refused({ pid: 4_194_304 })).rejects.toThrow("--pid: there is no process 4194304");
  await expect(refused({ cgroup: "/headwater-nowhere" })).rejects.toThrow("--cgroup /headwater-nowhere: there is no such control group");
  await expect(refused({ syscall: "openat,openta" })).rejects.toThrow('--syscall: there is no system call "openta"');
});
