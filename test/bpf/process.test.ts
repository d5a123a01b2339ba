import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import type { ProcessEvent } from "../../services/agent/kernel-event.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { compileProgram, useProbe } from "./open-probe.ts";

const skipReason = noKernelPrograms;
if (skipReason !== null) process.stdout.write(`test/bpf/process.test.ts: ${skipReason}\n`);
const memoryRoot = "/sys/fs/cgroup/memory";
const hasMemoryCgroup = existsSync(join(memoryRoot, "memory.limit_in_bytes"));
const open = useProbe("process");
const folder = useTemporaryFolder();

/** What the lifecycle ring holds of these processes and their children. */
function events(probe: ReturnType<typeof open>): ProcessEvent[] {
  return probe.drain("lifecycle_ring").filter((event): event is ProcessEvent => "startedNs" in event);
}

/** Runs a shell in its own process and answers its id; `script` sees it as $$. */
function shell(script: string): { pid: number; status: number | null; signal: NodeJS.Signals | null } {
  const { pid, status, signal } = spawnSync("/bin/sh", ["-c", script], { stdio: "ignore" });
  return { pid, status, signal };
}

it.skipIf(skipReason !== null)("every program loads and is attached", () => {
  const probe = open();
  const names = probe.programs.map((program) => [program.name, program.attached, program.verifierLog]);
  expect(names).toEqual([
    ["process_exec", true, ""],
    ["process_fork", true, ""],
    ["process_exit", true, ""],
    ["process_oom_kill", true, ""],
  ]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("an exec has its file, its arguments, its command and its parent", () => {
  const probe = open();
  const { pid } = spawnSync("/bin/sh", ["-c", "exit 0", "näme", "", "two words"], { stdio: "ignore" });
  const exec = events(probe).filter((event) => event.type === "exec" && event.tgid === pid);
  expect(exec).toHaveLength(1);
  expect(exec[0]).toMatchObject({ file: "/bin/sh", arguments: ["/bin/sh", "-c", "exit 0", "näme", "", "two words"], command: "sh" });
  expect(exec[0]?.parentTgid).toBe(process.pid);
  expect(exec[0]?.flags).toBe(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("arguments that are too long are cut, and the record says so", () => {
  const probe = open();
  const { pid } = spawnSync("/bin/sh", ["-c", "exit 0", "x".repeat(100_000)], { stdio: "ignore" });
  const exec = events(probe).find((event) => event.type === "exec" && event.tgid === pid);
  expect((exec?.flags ?? 0) & eventNumbers.HW_FLAG_TRUNCATED).toBe(eventNumbers.HW_FLAG_TRUNCATED);
  expect(exec?.arguments.slice(0, 3)).toEqual(["/bin/sh", "-c", "exit 0"]);
  expect(exec?.arguments[3]?.length).toBe(eventNumbers.HW_TEXT_MAX - "/bin/sh\0/bin/sh\0-c\0exit 0\0".length);
  expect(probe.lost("HW_LOSS_UNREADABLE")).toBe(0);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a fork names the child, and the exit of the child names it again", () => {
  const probe = open();
  const { pid } = shell("(exit 7); true");
  const all = events(probe);
  const fork = all.find((event) => event.type === "fork" && event.tgid === pid);
  const exit = all.find((event) => event.type === "exit" && event.tgid === fork?.childTgid);
  expect(exit).toMatchObject({ exitCode: 7, exitSignal: 0, parentTgid: pid });
  expect(exit?.startedNs).toBe(fork?.startedNs);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("an exit has the code, or the signal that ended the process", () => {
  const probe = open();
  const code = shell("exit 42");
  const killed = shell("kill -KILL $$");
  const aborted = shell("kill -SEGV $$");
  const exits = new Map(events(probe).flatMap((event) => (event.type === "exit" ? [[event.tgid, event]] : [])));
  expect(exits.get(code.pid)).toMatchObject({ exitCode: 42, exitSignal: 0 });
  expect(exits.get(killed.pid)).toMatchObject({ exitCode: 0, exitSignal: 9 });
  expect(exits.get(aborted.pid)).toMatchObject({ exitCode: 0, exitSignal: 11 });
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("threads are neither forks nor exits, and the last thread ends the process once", () => {
  const probe = open();
  const source = `
    #include <pthread.h>
    #include <unistd.h>
    static void *wait_a_while(void *unused) { usleep(2000); return 0; }
    int main(void) {
      pthread_t threads[8];
      for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, wait_a_while, 0);
      pthread_exit(0); /* the leader goes first */
    }`;
  mkdirSync(folder.path, { recursive: true });
  const program = compileProgram(source, join(folder.path, "threads"));
  const { pid } = spawnSync(program, { stdio: "ignore" });
  const own = events(probe).filter((event) => event.tgid === pid);
  expect(own.map((event) => event.type)).toEqual(["exec", "exit"]);
  expect(own[1]).toMatchObject({ exitCode: 0, exitSignal: 0 });
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("records that do not fit into the ring are counted", () => {
  const probe = open({ ringBytes: { lifecycle_ring: 4096 } });
  shell("i=0; while [ $i -lt 100 ]; do (exit 0); i=$((i+1)); done");
  const received = probe.drain("lifecycle_ring").length;
  expect(received).toBeGreaterThan(10);
  expect(received + probe.lost("HW_LOSS_LIFECYCLE_RING")).toBeGreaterThanOrEqual(202);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a cgroup that is to be ignored leaves no record", () => {
  const probe = open();
  probe.ignore({ cgroup: 1n });
  const group = "/sys/fs/cgroup/unified/headwater-test-process";
  mkdirSync(group, { recursive: true });
  try {
    const { pid } = shell(`echo $$ > ${group}/cgroup.procs; exec /bin/true`);
    const own = events(probe).filter((event) => event.tgid === pid);
    // The first exec was in the ignored root group; what came after the move was not.
    expect(own.map((event) => [event.type, event.file])).toEqual([
      ["exec", "/bin/true"],
      ["exit", ""],
    ]);
    expect(own[0]?.cgroup).toBe(BigInt(statSync(group).ino));
  } finally {
    rmdirSync(group);
    probe.kernel.close();
  }
});

it.skipIf(skipReason !== null || !hasMemoryCgroup)("an OOM kill in a cgroup is on record, and then the death by SIGKILL", () => {
  const probe = open();
  const group = join(memoryRoot, `headwater-test-${process.pid}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, "memory.limit_in_bytes"), "16M");
    const source = `
      #include <stdlib.h>
      #include <string.h>
      int main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }`;
    mkdirSync(folder.path, { recursive: true });
    const greedy = compileProgram(source, join(folder.path, "greedy"));
    const { pid, signal } = shell(`echo $$ > ${group}/cgroup.procs; exec ${greedy}`);
    expect(signal).toBe("SIGKILL");
    const own = events(probe).filter((event) => event.tgid === pid);
    expect(own.map((event) => event.type)).toEqual(["exec", "exec", "oom-kill", "exit"]);
    expect(own[2]).toMatchObject({ command: "greedy", parentTgid: process.pid });
    expect(own[3]).toMatchObject({ exitSignal: 9 });
  } finally {
    rmdirSync(group);
    probe.kernel.close();
  }
});
