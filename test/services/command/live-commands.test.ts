import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { noKernelPrograms } from "../../native/bpf-object.ts";

const main = join(import.meta.dirname, "../../../dist/services/main.js");
const isBuilt = existsSync(join(import.meta.dirname, "../../../dist/bpf/syscall.bpf.o"));
const skipReason = noKernelPrograms ?? (isBuilt ? null : "the set-up step has not compiled the programs");
if (skipReason !== null) process.stdout.write(`test/services/command/live-commands.test.ts: ${skipReason}\n`);
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** As user and group 65534, which has no rights. */
function headwaterAsNobody(...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    timeout: 30_000,
    ...{ uid: 65_534, gid: 65_534, cwd: "/" },
  });
  return { status, stdout, stderr };
}

class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    children.push(this.child);
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString("utf8");
    });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString("utf8");
    });
    this.ended = once(this.child, "close").then(([status]) => {
      return { status: status as number | null, stdout: this.stdout, stderr: this.stderr };
    });
  }

  async observing(): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (!this.stderr.includes("observing ")) {
      if (Date.now() > deadline || this.child.exitCode !== null) expect.fail(`it does not observe: ${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Ids of the programs in the kernel that a process holds. */
function programsOf(pid: number): number[] {
  const folder = `/proc/${pid}/fdinfo`;
  const texts = readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf8"));
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/^prog_id:\s+(\d+)$/gm)].map(([, id]) => Number(id))))];
}

function isLoaded(id: number): boolean {
  return spawnSync("bpftool", ["prog", "show", "id", String(id)]).status === 0;
}

/** The kernel frees a program a moment after its last holder. */
async function untilUnloaded(ids: readonly number[]): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (ids.some(isLoaded)) {
    if (Date.now() > deadline) expect.fail(`programs ${ids.filter(isLoaded).join(", ")} are still in the kernel`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.skipIf(skipReason !== null)("the commands that look into the kernel", () => {
  it.each(["syscalls", "network", "requests"])("%s without rights is one line that names what is missing, and exit code 3", (command) => {
    const { status, stdout, stderr } = headwaterAsNobody(command, "--seconds", "1");
    expect([status, stdout, stderr]).toEqual([
      3,
      "",
      "headwater: the kernel cannot be observed: this process lacks CAP_BPF and CAP_PERFMON: run it as root, or grant them\n",
    ]);
  });

  it("doctor is a report for programs and an exit code for scripts", () => {
    const root = spawnSync(process.execPath, [main, "doctor", "--json"], { encoding: "utf8" });
    expect([root.status, (JSON.parse(root.stdout) as { verdict: string }).verdict]).toEqual([0, "everything works"]);
    const nobody = headwaterAsNobody("doctor");
    expect(nobody.status).toBe(3);
    expect(nobody.stdout.trimEnd()).toMatch(/nothing can be loaded: \d+ rows$/);
  });

  it("end with Ctrl-C, say what was lost, and leave nothing in the kernel", async () => {
    const run = new Running("syscalls", "--pid", String(process.pid));
    await run.observing();
    const ids = programsOf(run.child.pid ?? 0);
    expect(ids.length).toBeGreaterThanOrEqual(2);
    run.child.kill("SIGINT");
    const { status, stderr } = await run.ended;
    expect([status, stderr.trimEnd().split("\n").at(-1)]).toEqual([0, expect.stringMatching(/^\d+ calls; nothing was lost$/)]);
    await untilUnloaded(ids);
  });

  it("leave nothing in the kernel when they are killed", async () => {
    const run = new Running("requests");
    await run.observing();
    const ids = programsOf(run.child.pid ?? 0);
    expect(ids.length).toBeGreaterThanOrEqual(6);
    run.child.kill("SIGKILL");
    await run.ended;
    await untilUnloaded(ids);
  });

  it("work beside one another, each with its own maps, and end after so many seconds", async () => {
    const mine = String(process.pid);
    const runs = [
      new Running("syscalls", "--pid", mine, "--seconds", "2", "--json"),
      new Running("syscalls", "--pid", mine, "--seconds", "2.5", "--top", "--json"),
      new Running("network", "--seconds", "2.5", "--json"),
      new Running("requests", "--seconds", "2", "--json"),
    ];
    for (const { status, stdout } of await Promise.all(runs.map(({ ended }) => ended))) {
      expect(status).toBe(0);
      const lines = stdout.trimEnd().split("\n");
      expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ ended: true });
    }
    expect(runs[0]?.stdout.split("\n").length).toBeGreaterThan(10);
  });

  it("end when nobody reads any more", async () => {
    const run = new Running("syscalls");
    await run.observing();
    run.child.stdout?.destroy();
    expect((await run.ended).status).toBe(0);
  });

  it("say what does not exist", () => {
    const refused = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
    const gone = refused("syscalls", "--pid", "4194304");
    expect([gone.status, gone.stderr]).toEqual([2, "headwater: --pid: there is no process 4194304\n"]);
    const seconds = refused("network", "--seconds", "-1");
    expect([seconds.status, seconds.stderr.split("\n")[0]]).toEqual([
      2,
      "error: option '--seconds <n>' argument '-1' is invalid. it must be a number above 0, at most 86400.",
    ]);
  });
});
