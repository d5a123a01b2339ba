import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { type BlockCounter, decodeBlocks, decodeSchedules } from "../../services/agent/decode-counters.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { type OpenProbe, useProbe } from "./open-probe.ts";

const skipReason = noKernelPrograms;
const throttleRoot = "/sys/fs/cgroup/blkio";
const hasThrottle =
  existsSync(join(throttleRoot, "blkio.throttle.write_bps_device")) || existsSync(join(throttleRoot, "blkio.throttle.io_serviced"));
const folder = mkdtempSync("/var/tmp/headwater-block-");
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** The device that the folder is on, where it is a real one. */
const deviceNumber = statSync(folder).dev;
const device = { major: (deviceNumber >> 8) & 0xfff, minor: (deviceNumber & 0xff) | ((deviceNumber >> 12) & 0xfff00) };
const isRealDevice = existsSync(`/sys/dev/block/${device.major}:${device.minor}`);
const reason = skipReason ?? (isRealDevice ? null : "the temporary folder is on no block device");
if (reason !== null) process.stdout.write(`test/bpf/block.test.ts: ${reason}\n`);
const open = useProbe("block");
const openSchedule = useProbe("schedule");
const blockBytes = 64 * 1024;

function rows(probe: OpenProbe): BlockCounter[] {
  return probe.rows("blocks", decodeBlocks).filter((row) => row.major === device.major && row.minor === device.minor);
}

/** Writes so many blocks around the page cache, from a shell that joined these cgroups first. */
function write(count: number, groups: readonly string[]): { readonly pid: number } {
  const join = groups.map((group) => `echo $$ > ${group}/cgroup.procs;`).join(" ");
  const dd = `exec dd if=/dev/zero of=${folder}/file bs=${blockBytes} count=${count} oflag=direct conv=notrunc`;
  const { pid, status, stderr } = spawnSync("/bin/sh", ["-c", `${join} ${dd}`], { encoding: "utf8" });
  expect([status, stderr.includes("records out")]).toEqual([0, true]);
  return { pid };
}

it.skipIf(reason !== null)("every program loads and is attached", () => {
  const probe = open();
  expect(probe.programs.map((program) => [program.name, program.attached, program.verifierLog])).toEqual([
    ["block_issue", true, ""],
    ["block_complete", true, ""],
  ]);
  probe.kernel.close();
});

it.skipIf(reason !== null)("direct writes and reads of a cgroup are counted with bytes and latency", () => {
  const group = `/sys/fs/cgroup/unified/headwater-test-block-${process.pid}`;
  mkdirSync(group);
  const probe = open();
  try {
    write(32, [group]);
    const read = `echo $$ > ${group}/cgroup.procs; exec dd if=${folder}/file of=/dev/null bs=${blockBytes} iflag=direct`;
    expect(spawnSync("/bin/sh", ["-c", read]).status).toBe(0);
    const own = rows(probe).filter((row) => row.cgroup === BigInt(statSync(group).ino) && row.hierarchy === "v2");
    const written = own.find((row) => row.operation === "write");
    const readRow = own.find((row) => row.operation === "read");
    expect(written?.bytes).toBe(32 * blockBytes);
    expect(readRow?.bytes).toBeGreaterThanOrEqual(32 * blockBytes);
    expect(written?.count).toBeGreaterThanOrEqual(32);
    expect(written?.errors).toBe(0);
    expect(written?.sumNs).toBeGreaterThan(0);
    expect(written?.buckets.reduce((sum, count) => sum + count, 0)).toBe(written?.count);
    expect(probe.lost("HW_LOSS_BLOCKS")).toBe(0);
  } finally {
    rmdirSync(group);
    probe.kernel.close();
  }
});

it.skipIf(reason !== null || !hasThrottle)("a throttled disk is charged to the v1 group, and its writer sleeps on it", () => {
  const group = join(throttleRoot, `headwater-test-${process.pid}`);
  const bytesPerSecond = 1 << 20;
  mkdirSync(group);
  const probe = open();
  const schedule = openSchedule();
  try {
    writeFileSync(join(group, "blkio.throttle.write_bps_device"), `${device.major}:${device.minor} ${bytesPerSecond}`);
    const { pid } = write(8, [group]);
    const charged = rows(probe).find((row) => row.hierarchy === "blkio" && row.cgroup === BigInt(statSync(group).ino));
    expect(charged).toMatchObject({ operation: "write", bytes: 8 * blockBytes });
    // 512 KiB at 1 MiB/s: most of half a second is spent in the throttle, which the driver does not see but the writer does.
    const writer = schedule.rows("schedules", decodeSchedules).find((row) => row.tgid === pid);
    expect(writer?.ioWaitNs).toBeGreaterThan(250e6);
    expect(writer?.ioWaitCount).toBeGreaterThan(0);
    expect(charged?.sumNs).toBeLessThan(writer?.ioWaitNs ?? 0);
    expect(readFileSync(join(group, "blkio.throttle.io_service_bytes"), "utf8")).toContain("Write");
  } finally {
    rmdirSync(group);
    probe.kernel.close();
    schedule.kernel.close();
  }
});

it.skipIf(reason !== null)("a map that is full is counted", () => {
  const probe = open({ mapEntriesMax: { blocks: 1, block_starts: 1 } });
  write(4, []);
  spawnSync("/bin/sh", ["-c", `dd if=${folder}/file of=/dev/null bs=${blockBytes} iflag=direct`]);
  expect(probe.lost("HW_LOSS_BLOCKS")).toBeGreaterThan(0);
  probe.kernel.close();
});
