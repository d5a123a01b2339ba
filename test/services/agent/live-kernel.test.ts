import { spawn } from "node:child_process";
import { afterAll, describe, expect, it } from "vitest";
import { builtObjectPath } from "../../../native/kernel-probe.ts";
import { type LiveKernel, openLiveKernel } from "../../../services/agent/live-kernel.ts";
import { createMetrics, SystemClock } from "../../../services/platform.ts";
import { noKernelPrograms } from "../../native/bpf-object.ts";
import { startFromTypeScript } from "./typescript-worker.ts";

const skipReason = noKernelPrograms ?? (builtObjectPath("schedule") === null ? "the set-up step has not compiled the programs" : null);
if (skipReason !== null) process.stdout.write(`test/services/agent/live-kernel.test.ts: ${skipReason}\n`);

describe.skipIf(skipReason !== null)("the kernel of an agent", () => {
  let kernel: LiveKernel | null = null;
  afterAll(async () => await kernel?.close());

  async function attached(object: string): Promise<string[]> {
    const programs = (await kernel?.source.programs()) ?? [];
    return programs.flatMap((program) => (program.object === object && program.attached ? [program.name] : []));
  }

  it("measures what signals cost, lets go of those that are given up, and takes them back", async () => {
    const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const platform = { clock: new SystemClock(), logger: silent, metrics: createMetrics(), random: () => 0.5 };
    const common = { platform, level: "requests", syscalls: "always", startWorker: startFromTypeScript } as const;
    const opened = await openLiveKernel({ ...common, watchedGroups: null });
    if (!opened.ok) expect.fail(opened.reason);
    kernel = opened.kernel;
    const whole = { schedule: await attached("schedule"), syscall: await attached("syscall") };
    expect([whole.schedule.length, whole.syscall.length]).toEqual([3, 2]);
    await kernel.start();
    // What it costs can be measured only where something happens.
    const busy = spawn("sh", ["-c", "while :; do sleep 0.01; done"]);
    try {
      const deadline = performance.now() + 15_000;
      while ((await kernel.programsCpu()) === null && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      busy.kill("SIGKILL");
    }
    const before = (await kernel.programsCpu()) ?? expect.fail("nothing was measured");
    const scheduleCpu = before.signals.get("schedule") ?? 0;
    expect(scheduleCpu).toBeGreaterThan(0);
    expect(scheduleCpu + (before.signals.get("syscalls") ?? 0)).toBeLessThanOrEqual(before.all);

    await kernel.giveUp(["schedule", "syscalls"]);
    expect([await attached("schedule"), await attached("syscall")]).toEqual([[], []]);
    expect((await kernel.programsCpu())?.signals).toEqual(
      new Map([
        ["schedule", 0],
        ["syscalls", 0],
      ]),
    );
    await kernel.giveUp([]);
    expect({ schedule: await attached("schedule"), syscall: await attached("syscall") }).toEqual(whole);
    expect(kernel.failures).toBe(0);
  }, 30_000);
});
