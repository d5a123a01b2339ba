import { describe, expect, it } from "vitest";
import {
  connectionMetric,
  hostMetric,
  isConnectionMetric,
  isFromKernel,
  kernelEvent,
  kernelEventOf,
  kernelEventText,
  processMetric,
  requestDurationMetrics,
} from "../../contract/kernel-telemetry.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import { derivedMetric } from "../../contract/series.ts";

type Row = readonly [statistic: "value" | "rate" | "p95", kind: string, scope: string, unit: string, floor: number, merge: "sum" | "mean"];

const natures: Readonly<Record<string, Row>> = {
  [connectionMetric.opened]: ["rate", "network", "external", "1/s", 1, "sum"],
  [connectionMetric.failed]: ["rate", "network", "external", "1/s", 0.1, "sum"],
  [connectionMetric.reset]: ["rate", "network", "external", "1/s", 0.5, "sum"],
  [connectionMetric.retransmits]: ["rate", "network", "external", "1/s", 1, "sum"],
  [connectionMetric.roundTrip]: ["value", "network", "external", "s", 0.001, "mean"],
  [connectionMetric.io]: ["rate", "network", "external", "By/s", 65_536, "sum"],
  [processMetric.cpuUtilization]: ["value", "cpu", "internal", "1", 0.01, "mean"],
  [processMetric.runQueueWait]: ["value", "cpu", "internal", "1", 0.02, "mean"],
  [processMetric.throttled]: ["value", "cpu", "internal", "1", 0.02, "mean"],
  [processMetric.blockDuration]: ["p95", "disk", "internal", "s", 0.001, "mean"],
  [processMetric.blockIo]: ["rate", "disk", "internal", "By/s", 65_536, "sum"],
  [processMetric.memory]: ["value", "memory", "internal", "By", 1_048_576, "sum"],
  [processMetric.openFiles]: ["value", "saturation", "internal", "", 0.5, "sum"],
  [processMetric.threads]: ["value", "runtime", "internal", "", 1, "sum"],
  [processMetric.syscalls]: ["rate", "runtime", "external", "1/s", 10, "sum"],
  [processMetric.syscallErrors]: ["rate", "runtime", "external", "1/s", 0.5, "sum"],
  [processMetric.syscallDuration]: ["p95", "runtime", "external", "s", 0.001, "mean"],
  [hostMetric.packets]: ["rate", "network", "external", "1/s", 10, "sum"],
  [hostMetric.io]: ["rate", "network", "external", "By/s", 65_536, "sum"],
  [hostMetric.dropped]: ["rate", "network", "internal", "1/s", 1, "sum"],
};
const names = [connectionMetric, processMetric, hostMetric].flatMap((table) => Object.values(table));

describe("what the agent sends", () => {
  it("has a nature for every name, with a floor, and none that could be taken for requests of an entity", () => {
    expect(Object.keys(natures).sort()).toEqual([...names].sort());
    for (const name of names) {
      const [statistic, kind, scope, unit, floor, merge] = natures[name]!;
      expect(metricKind(name, statistic), name).toEqual({ kind, scope, unit, floor, merge });
      for (const other of ["value", "rate", "mean", "p50", "p95", "p99"] as const) {
        expect(["traffic", "latency", "errors"], `${name} ${other}`).not.toContain(metricKind(name, other).kind);
      }
    }
  });

  it.each([processMetric.blockDuration, processMetric.syscallDuration])("has times of %s of which the rate is how often", (name) => {
    expect(metricKind(name, "rate").unit).toBe("1/s");
    expect(metricKind(name, "mean").unit).toBe("s");
  });

  it("has requests that are judged as those of spans", () => {
    for (const metric of [derivedMetric.kernelServerDuration, derivedMetric.kernelClientDuration]) {
      for (const statistic of ["rate", "error_ratio", "p50", "p95", "p99"] as const) {
        expect(metricKind(metric, statistic)).toEqual(metricKind(derivedMetric.serverDuration, statistic));
      }
    }
    expect([...requestDurationMetrics.server, ...requestDurationMetrics.client].every((name) => /duration$/.test(name))).toBe(true);
  });

  it("says who tells, and what is told per dependency", () => {
    expect(isFromKernel({ metric: "kernel.tcp.io", attributes: "" })).toBe(true);
    expect(isFromKernel({ metric: "process.cpu.utilization", attributes: "source=kernel" })).toBe(true);
    expect(isFromKernel({ metric: "system.network.io", attributes: "network.io.direction=receive,source=kernel" })).toBe(true);
    expect(isFromKernel({ metric: "process.cpu.utilization", attributes: "datasource=kernel" })).toBe(false);
    expect(isFromKernel({ metric: "span.server.duration", attributes: "" })).toBe(false);
    expect(Object.values(connectionMetric).every(isConnectionMetric)).toBe(true);
    expect(Object.values(processMetric).some(isConnectionMetric)).toBe(false);
  });

  it("has events that their lines can be told by, with and without words, and no other line", () => {
    for (const event of Object.values(kernelEvent)) {
      expect(kernelEventOf(kernelEventText(event, "node ended"))).toBe(event);
      expect(kernelEventOf(kernelEventText(event, ""))).toBe(event);
    }
    for (const text of [
      "",
      "oom",
      "headwater.process",
      "headwater.process.exited: a",
      "headwater.process.exit.",
      "headwater.process.exit:a",
    ]) {
      expect(kernelEventOf(text), text).toBeNull();
    }
  });
});
