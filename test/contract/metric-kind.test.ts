import { describe, expect, it } from "vitest";
import { metricKind } from "../../contract/metric-kind.ts";

describe("metricKind", () => {
  it.each([
    ["process.cpu.utilization", "value", "cpu", "internal"],
    ["process.cpu.time", "rate", "cpu", "internal"],
    ["node_load1", "value", "cpu", "internal"],
    ["checkoutservice_cpu", "value", "cpu", "internal"],
    ["checkoutservice_mem", "value", "memory", "internal"],
    ["jvm.memory.used", "value", "memory", "internal"],
    ["process_resident_memory_bytes", "value", "memory", "internal"],
    ["system.disk.io", "rate", "disk", "internal"],
    ["checkoutservice_diskio", "value", "disk", "internal"],
    ["container_network_receive_bytes_total", "rate", "network", "external"],
    ["checkoutservice_socket", "value", "network", "external"],
    ["nodejs.eventloop.delay.p99", "value", "runtime", "internal"],
    ["v8js.gc.duration", "p95", "runtime", "internal"],
    ["db.client.connection.pending_requests", "value", "saturation", "internal"],
    ["pool.waiting", "value", "saturation", "internal"],
    ["http.server.active_requests", "value", "saturation", "internal"],
    ["span.server.duration", "p95", "latency", "external"],
    ["span.server.duration", "rate", "traffic", "external"],
    ["span.server.duration", "error_ratio", "errors", "external"],
    ["http.server.request.duration", "mean", "latency", "external"],
    ["checkoutservice_latency-90", "value", "latency", "external"],
    ["checkoutservice_error", "value", "errors", "external"],
    ["checkoutservice_workload", "value", "traffic", "external"],
    ["latency", "value", "latency", "external"],
    ["requests", "value", "traffic", "external"],
    ["availability", "value", "errors", "external"],
    ["log.records", "rate", "log", "internal"],
    ["catalogueItems", "value", "other", "external"],
  ] as const)("says of %s (%s) that it is %s and %s", (metric, statistic, kind, scope) => {
    expect(metricKind(metric, statistic)).toMatchObject({ kind, scope });
  });

  it.each([
    ["span.server.duration", "p50", "s", 0.001],
    ["span.server.duration", "rate", "1/s", 0.2],
    ["span.server.duration", "error_ratio", "1", 0.005],
    ["process.cpu.utilization", "value", "1", 0.01],
    ["process.cpu.time", "rate", "1", 0.01],
    ["jvm.memory.used", "value", "By", 1_048_576],
    ["container_network_receive_bytes_total", "rate", "By/s", 65_536],
    ["request_latency_ms", "value", "ms", 1],
    ["catalogueItems", "value", "", 0],
  ] as const)("knows unit and floor of %s (%s)", (metric, statistic, unit, floor) => {
    expect(metricKind(metric, statistic)).toMatchObject({ unit, floor });
  });

  it("adds amounts of instances and averages their ratios and times", () => {
    expect(metricKind("jvm.memory.used", "value").merge).toBe("sum");
    expect(metricKind("db.client.connection.count", "value").merge).toBe("sum");
    expect(metricKind("process.cpu.utilization", "value").merge).toBe("mean");
    expect(metricKind("nodejs.eventloop.delay.p99", "value").merge).toBe("mean");
  });
});
