/**
 * What a metric's name says of it: kind, scope, unit, how instances add up, and the smallest spread worth noticing.
 * The one place where names of metrics are read; everything else hangs on the answer. Understands OpenTelemetry's semantic conventions,
 * Prometheus' naming habits and the columns of the public benchmark sets (`_cpu`, `_mem`, `_latency-90`, `_workload`, `availability`).
 */
import { connectionMetric, hostMetric, processMetric } from "./kernel-telemetry.ts";
import { derivedMetric, type MetricKind, type Scope, type Statistic } from "./series.ts";

export interface MetricNature {
  readonly kind: MetricKind;
  readonly scope: Scope;
  /** Of the series, that is of the metric after the statistic: `s`, `ms`, `By`, `By/s`, `%`, `1`, `1/s`, or empty where the name says nothing. */
  readonly unit: string;
  /** Spread below which a difference is of no interest, in `unit`; 0 where the unit is not known. */
  readonly floor: number;
  /** How the values of several streams (instances) make one. */
  readonly merge: "sum" | "mean";
}

/** Rows in order of precedence: the first whose word occurs decides. */
const kindWords: readonly (readonly [MetricKind, readonly string[]])[] = [
  ["log", ["log", "logs"]],
  ["runtime", ["eventloop", "gc", "goroutine", "goroutines", "thread", "threads", "jit", "safepoint"]],
  ["saturation", ["pool", "pending", "queue", "queued", "backlog", "inflight", "active", "waiting", "wait", "connections", "connection"]],
  ["saturation", ["fds", "descriptor", "descriptors", "throttled", "throttling", "saturation", "lag", "semaphore"]],
  ["cpu", ["cpu", "cpus", "load1", "load5", "load15", "vcpu"]],
  ["memory", ["mem", "memory", "heap", "rss", "oom", "swap", "pgfault", "working"]],
  ["disk", ["disk", "diskio", "filesystem", "fs", "io", "iops", "blkio", "block"]],
  ["network", ["network", "net", "tcp", "udp", "socket", "sockets", "packet", "packets", "dns", "tls", "bandwidth", "retransmits"]],
  [
    "errors",
    ["error", "errors", "fail", "failed", "failure", "failures", "exception", "exceptions", "availability", "fault", "faults", "5xx"],
  ],
  ["latency", ["latency", "duration", "response", "rt", "elapsed", "delay"]],
  ["traffic", ["requests", "request", "rate", "workload", "throughput", "qps", "rps", "calls", "count", "messages", "invocations"]],
];

interface KernelNature {
  readonly kind: MetricKind;
  readonly scope: Scope;
  readonly unit: string;
  readonly floor: number;
}

/**
 * What the agent sends, by name, where its words would say something else: a wait for the processor is no queue of requests, and a failed
 * system call is no failed request. Units of histograms are those of their times.
 */
const kernelNatures: ReadonlyMap<string, KernelNature> = new Map<string, KernelNature>([
  [connectionMetric.opened, { kind: "network", scope: "external", unit: "1/s", floor: 1 }],
  [connectionMetric.failed, { kind: "network", scope: "external", unit: "1/s", floor: 0.1 }],
  [connectionMetric.reset, { kind: "network", scope: "external", unit: "1/s", floor: 0.5 }],
  [connectionMetric.retransmits, { kind: "network", scope: "external", unit: "1/s", floor: 1 }],
  [connectionMetric.roundTrip, { kind: "network", scope: "external", unit: "s", floor: 0.001 }],
  [connectionMetric.io, { kind: "network", scope: "external", unit: "By/s", floor: 65_536 }],
  [processMetric.runQueueWait, { kind: "cpu", scope: "internal", unit: "1", floor: 0.02 }],
  [processMetric.throttled, { kind: "cpu", scope: "internal", unit: "1", floor: 0.02 }],
  [processMetric.blockDuration, { kind: "disk", scope: "internal", unit: "s", floor: 0.001 }],
  [processMetric.threads, { kind: "runtime", scope: "internal", unit: "", floor: 1 }],
  [processMetric.syscalls, { kind: "runtime", scope: "external", unit: "1/s", floor: 10 }],
  [processMetric.syscallErrors, { kind: "runtime", scope: "external", unit: "1/s", floor: 0.5 }],
  [processMetric.syscallDuration, { kind: "runtime", scope: "external", unit: "s", floor: 0.001 }],
  [hostMetric.packets, { kind: "network", scope: "external", unit: "1/s", floor: 10 }],
  [hostMetric.io, { kind: "network", scope: "external", unit: "By/s", floor: 65_536 }],
  [hostMetric.dropped, { kind: "network", scope: "internal", unit: "1/s", floor: 1 }],
]);

const internalKinds: ReadonlySet<MetricKind> = new Set<MetricKind>(["cpu", "memory", "disk", "runtime", "saturation", "log"]);

/** Words after which values of instances are averaged: a ratio or a duration does not add up. */
const meanWords: ReadonlySet<string> = new Set([
  ...["utilization", "utilisation", "ratio", "percent", "percentage", "pct", "avg", "mean", "median", "p50", "p90", "p95", "p99"],
  ...["latency", "duration", "delay", "time", "temperature", "availability", "load1", "load5", "load15", "interval", "limit", "max", "min"],
]);

const floors: { readonly [kind in MetricKind]?: { readonly [unit: string]: number } } = {
  cpu: { "1": 0.01, "%": 1, "": 0.01 },
  memory: { By: 1_048_576, "1": 0.005, "%": 0.5 },
  disk: { "By/s": 65_536, "1": 0.005, "%": 0.5, "1/s": 1 },
  network: { "By/s": 65_536, "1/s": 1 },
  runtime: { s: 0.002, ms: 2, "1": 0.01, "1/s": 0.5 },
  saturation: { s: 0.001, ms: 1, "1": 0.02, "%": 2, "": 0.5, "1/s": 0.5 },
  latency: { s: 0.001, ms: 1 },
  errors: { "1": 0.005, "%": 0.5, "1/s": 0.1 },
  traffic: { "1/s": 0.2 },
  log: { "1/s": 0.2 },
};

/** The nature of a series of this metric and statistic. Pure; unknown names are `other`, external, without unit and floor. */
export function metricKind(metric: string, statistic: Statistic): MetricNature {
  const words = metricWords(metric);
  const merge = words.some((word) => meanWords.has(word)) ? "mean" : "sum";
  const known = kernelNatures.get(metric);
  if (known !== undefined) return kernelNature(known, { statistic, merge });
  const kind = kindOf(metric, words, statistic);
  const unit = unitOf(words, { kind, statistic });
  return {
    kind,
    scope: internalKinds.has(kind) ? "internal" : "external",
    unit,
    floor: floors[kind]?.[unit] ?? 0,
    merge,
  };
}

/** The rate of a histogram of times is how often. */
function kernelNature(known: KernelNature, of: { statistic: Statistic; merge: MetricNature["merge"] }): MetricNature {
  if (of.statistic === "rate" && known.unit === "s") return { ...known, unit: "1/s", floor: 1, merge: of.merge };
  return { ...known, merge: of.merge };
}

/** Words of a metric's name, in lower case: split where letters change case and at everything that is neither letter nor digit. */
export function metricWords(metric: string): string[] {
  return metric
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");
}

function kindOf(metric: string, words: readonly string[], statistic: Statistic): MetricKind {
  if (metric === derivedMetric.logRecords) return "log";
  if (statistic === "error_ratio") return "errors";
  const found = kindWords.find(([, known]) => words.some((word) => known.includes(word)));
  const kind = found?.[0] ?? "other";
  // How often something that takes time happened is traffic: the rate of a histogram of durations.
  return kind === "latency" && statistic === "rate" ? "traffic" : kind;
}

function unitOf(words: readonly string[], of: { kind: MetricKind; statistic: Statistic }): string {
  if (of.statistic === "error_ratio") return "1";
  const base = baseUnitOf(words, of.kind);
  if (of.statistic !== "rate") return base;
  if (of.kind === "cpu" && (base === "s" || base === "")) return "1";
  if (of.kind === "traffic" || of.kind === "errors" || of.kind === "log") return "1/s";
  // The rate of a time (`gc.duration`, `io_time`) from a counter is a share of time; from a histogram it is how often.
  if (base === "s") return words.includes("duration") ? "1/s" : "1";
  return base === "By" ? "By/s" : "1/s";
}

function baseUnitOf(words: readonly string[], kind: MetricKind): string {
  const has = (...some: string[]) => some.some((word) => words.includes(word));
  if (has("percent", "percentage", "pct")) return "%";
  if (has("utilization", "utilisation", "ratio", "availability")) return "1";
  if (has("milliseconds", "millis", "ms")) return "ms";
  if (has("seconds", "duration", "delay") || (has("time") && kind !== "other")) return "s";
  if (has("bytes", "octets") || (kind === "memory" && !has("mem", "oom", "pgfault", "count"))) return "By";
  if ((kind === "disk" || kind === "network") && has("io") && !has("operations", "packets", "packet", "errors", "dropped")) return "By";
  return "";
}
