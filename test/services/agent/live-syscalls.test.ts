import { describe, expect, it } from "vitest";
import type { SyscallCounter } from "../../../services/agent/decode-counters.ts";
import { eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import type { SyscallDetail } from "../../../services/agent/kernel-event.ts";
import { bucketQuantile, SyscallFrequencies, syscallLine, syscallText } from "../../../services/agent/live-syscalls.ts";
import { syscallNumber } from "../../../services/agent/syscall-names.ts";

const openat = syscallNumber("openat") ?? 0;
const offset = Date.parse("2026-11-25T18:00:00.000Z") * 1e6;

function detail(change: Partial<SyscallDetail>): SyscallDetail {
  const header = { atNs: 2_000_000, cookie: 0n, cgroup: 77n, tgid: 10, tid: 11, netns: 1, role: "unknown", transport: "tcp" } as const;
  const call = { number: openat, result: -2, durationNs: 500_000, parentTgid: 1, command: "nginx", text: "/etc/x" };
  return { type: "syscall", ...header, direction: null, flags: 0, ...call, ...change };
}

function counter(change: Partial<SyscallCounter>): SyscallCounter {
  const buckets = new Float64Array(eventNumbers.HW_LOG2_BUCKETS);
  return { tgid: 10, number: openat, cgroup: 0n, count: 0, errors: 0, sumNs: 0, buckets, ...change };
}

describe("a line", () => {
  it("begins when the call did, and names its error", () => {
    expect(syscallLine(detail({}), offset)).toEqual({
      at: "2026-11-25T18:00:00.001500Z",
      ...{ pid: 10, tid: 11, command: "nginx", syscall: "openat", result: -2, error: "ENOENT", durationNs: 500_000 },
      ...{ text: "/etc/x", cgroup: "77" },
    });
  });

  it("has no duration where the beginning was not seen", () => {
    const line = syscallLine(detail({ flags: eventNumbers.HW_FLAG_EXISTING, durationNs: 0, text: "a\u001bb" }), offset);
    expect(line.durationNs).toBeNull();
    expect(syscallText(line)).toBe("     10 nginx           openat            18:00:00.002000 -ENOENT               - a\\x1bb");
  });
});

describe("frequencies", () => {
  it("are differences by second, the most frequent first; the first reading has none", () => {
    const frequencies = new SyscallFrequencies();
    const commandOf = (pid: number) => `c${pid}`;
    expect(frequencies.read([counter({ count: 100 })], 1_000, commandOf)).toEqual([]);
    const buckets = new Float64Array(eventNumbers.HW_LOG2_BUCKETS);
    buckets[10] = 40;
    // Calls that do not return.
    buckets[0] = 100;
    const rows = frequencies.read([counter({ count: 140, errors: 20, buckets }), counter({ tgid: 20, count: 300 })], 3_000, commandOf);
    expect(rows.map(({ pid, command, callsPerSecond, errorsPerSecond }) => [pid, command, callsPerSecond, errorsPerSecond])).toEqual([
      [20, "c20", 150, 0],
      [10, "c10", 20, 10],
    ]);
    expect(rows[0]?.p50Ns).toBeNull();
    expect(rows[1]).toMatchObject({ syscall: "openat", p50Ns: 1_536 });
  });

  it("calls that were not made again are not shown", () => {
    const frequencies = new SyscallFrequencies();
    frequencies.read([counter({ count: 1 })], 1_000, () => "");
    expect(frequencies.read([counter({ count: 1 })], 2_000, () => "")).toEqual([]);
  });

  it("quantiles lie within the bucket that holds them", () => {
    const buckets = Float64Array.from([0, 0, 0, 95, 0, 5]);
    expect(bucketQuantile(buckets, 0.5)).toBeCloseTo(8 * (1 + 50 / 95), 9);
    expect(bucketQuantile(buckets, 0.95)).toBe(16);
    expect(bucketQuantile(buckets, 0.99)).toBeCloseTo(32 * 1.8, 9);
    expect(bucketQuantile(new Float64Array(4), 0.5)).toBeNull();
  });
});
