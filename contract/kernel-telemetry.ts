/**
 * Names under which the agent sends what the kernel saw (OpenTelemetry semantic conventions where they have a name), and how the reducer
 * recognises it. Everything is of the instrumentation scope `headwater.agent`; sums and histograms are deltas, one point an interval.
 */

export const kernelScope = "headwater.agent";

/** Histograms of requests in seconds, by the side that measured; `error.type` marks the failed ones. */
export const requestDurationMetrics: Readonly<Record<"server" | "client", readonly string[]>> = {
  server: ["http.server.request.duration", "rpc.server.call.duration", "db.server.operation.duration", "messaging.process.duration"],
  client: [
    "http.client.request.duration",
    "rpc.client.call.duration",
    "db.client.operation.duration",
    "messaging.client.operation.duration",
    "dns.lookup.duration",
  ],
};

/** Per dependency, as the caller sees it (`server.address`, `server.port`): sums of the interval, gauges where they say so. */
export const connectionMetric = {
  opened: "kernel.tcp.connections.opened",
  failed: "kernel.tcp.connections.failed",
  reset: "kernel.tcp.connections.reset",
  retransmits: "kernel.tcp.retransmits",
  /** Gauge, seconds. */
  roundTrip: "kernel.tcp.rtt.duration",
  /** Bytes; attribute `network.io.direction`. */
  io: "kernel.tcp.io",
} as const;

/** Per service, internal: only the service itself and its host can make them move. */
export const processMetric = {
  /** Gauge, share of one core. */
  cpuUtilization: "process.cpu.utilization",
  /** Gauge, share of the interval in which a thread of it was ready to run and waited. */
  runQueueWait: "kernel.cpu.wait.utilization",
  /** Gauge, share of the interval in which its cgroup was throttled. */
  throttled: "kernel.cpu.throttled.utilization",
  /** Histogram, seconds; attribute `disk.io.direction`. */
  blockDuration: "kernel.disk.io.duration",
  /** Bytes. */
  blockIo: "process.disk.io",
  /** Gauge, bytes. */
  memory: "process.memory.usage",
  openFiles: "process.open_file_descriptor.count",
  threads: "process.thread.count",
  /** Sums; attribute `syscall`. */
  syscalls: "kernel.syscall.count",
  syscallErrors: "kernel.syscall.errors",
  /** Histogram, seconds; attribute `syscall`. */
  syscallDuration: "kernel.syscall.duration",
} as const;

/** Per host; attribute `network.interface.name` and `network.io.direction`, or `reason`. */
export const hostMetric = {
  packets: "system.network.packet.count",
  io: "system.network.io",
  dropped: "system.network.packet.dropped",
} as const;

/** What the agent of a host says of itself, per host. It is about who observes, so none of it is evidence of what was observed. */
export const agentMetric = {
  /** Gauge, one point in every interval while the agent works: the place of what it observes among `nothing` … `payload`. */
  level: "headwater.agent.level",
  /** Gauge, 1; attribute `state`: the level that was asked for and given up. */
  givenUp: "headwater.agent.given_up",
  /** Gauge, 1; attribute `state`: the program that is not attached. */
  programMissing: "headwater.agent.program.missing",
  /** Sum; attribute `state`: where something did not fit or was lost. */
  dropped: "headwater.agent.dropped",
  /** Gauge, share of one core, the programs' part included. */
  cpuUtilization: "headwater.agent.cpu.utilization",
  /** Gauge, bytes. */
  memory: "headwater.agent.memory.usage",
} as const;

/** Whether a metric is of an agent itself. */
export function isAgentMetric(metric: string): boolean {
  return metric.startsWith("headwater.agent.");
}

/** An agent tells in every window; one that did not for so long is silent. */
export function agentSilentAfterMs(windowMs: number): number {
  return Math.max(2 * windowMs, 5_000);
}

/** `event.name` of log records. */
export const kernelEvent = {
  exec: "headwater.process.exec",
  exit: "headwater.process.exit",
  oomKill: "headwater.process.oom_kill",
  refused: "headwater.connection.refused",
  fileAccess: "headwater.file.access",
  /** Something that should not happen: a watched path, an unknown binary. */
  security: "headwater.security",
  /** The agent of a host has said everything about an interval, and whether it observes less than it was asked to. */
  interval: "headwater.agent.interval",
} as const;

/** Attribute of series that the agent sends under a name that others send too: two tellers of one quantity must not be added up. */
export const kernelSourceAttribute = "source=kernel";

/** Whether the kernel is the teller of a series or of durations. */
export function isFromKernel(of: { readonly metric: string; readonly attributes: string }): boolean {
  return of.metric.startsWith("kernel.") || `,${of.attributes},`.includes(`,${kernelSourceAttribute},`);
}

const connectionMetrics: ReadonlySet<string> = new Set(Object.values(connectionMetric));

/** Whether a metric is told per dependency; its series carry `peer=<address key>`. */
export function isConnectionMetric(metric: string): boolean {
  return connectionMetrics.has(metric);
}

const restingMetrics: ReadonlySet<string> = new Set([
  ...[connectionMetric.failed, connectionMetric.reset, connectionMetric.retransmits, hostMetric.dropped],
  ...[processMetric.syscallErrors, processMetric.throttled],
]);

/** Whether a metric is at zero while all is well, so that one that appears began from nothing. */
export function restsAtZero(metric: string): boolean {
  return restingMetrics.has(metric);
}

const events: ReadonlySet<string> = new Set(Object.values(kernelEvent));

/** What a line of a kernel event begins with; the words of the agent follow. */
export function kernelEventText(event: string, words: string): string {
  return words === "" ? event : `${event}: ${words}`;
}

/** The kernel event of a log line or a template, or null for any other. */
export function kernelEventOf(text: string): string | null {
  const name = /^[a-z_.]+/.exec(text)?.[0] ?? "";
  const event = name.endsWith(".") ? name.slice(0, -1) : name;
  const rest = text.slice(event.length);
  return events.has(event) && (rest === "" || rest.startsWith(": ")) ? event : null;
}
