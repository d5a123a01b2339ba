/**
 * What only the kernel sees: who waits for a processor because of whom, what connections suffer, which system calls fail. Everything else
 * that it tells (requests, throttling, disks, dropped packets) is judged as if the programs had told it. Channel `internal`.
 */
import { compareCodeUnits } from "../contract/canonical.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import { connectionMetric, processMetric } from "../contract/kernel-telemetry.ts";
import type { FaultKind } from "../contract/verdict.ts";
import type { Contribution } from "./contribution.ts";
import { internalStrength, trafficGrowth } from "./evidence-metric.ts";
import { gateOf, type Measured, type MetricView, strengthOf } from "./metric-view.ts";
import type { Edge, Neighbourhood } from "./neighbourhood.ts";
import { sumSorted } from "./robust-statistics.ts";
import { percentText, seriesText, valueText } from "./wording.ts";

/** The second and later items of one kind add this much, as for internal series. */
const furtherShare = 0.3;
/** Cores that somebody takes more than before from which it may be why others wait. */
const coresMin = 0.1;
/** What of its waiting an entity hands on to a neighbour who takes all of what it lacks. */
const handedOn = 0.8;
/** From this share of callers, or of callees, on it is the one end that they have in common. */
const commonCoverage = 0.75;

/** Answers who told evidence, where everything of it was told by the kernel; spans that show it do not count. */
export function kernelSourceOf(snapshot: EvidenceSnapshot): (evidence: readonly string[]) => "kernel" | undefined {
  const told = [...snapshot.series, ...snapshot.operations, ...snapshot.templates];
  const kernel = new Set(told.flatMap(({ id, source }) => (source === "kernel" ? [id] : [])));
  if (kernel.size === 0) return () => undefined;
  return (evidence) => {
    const own = evidence.filter((id) => !id.startsWith("span:"));
    return own.length > 0 && own.every((id) => kernel.has(id)) ? "kernel" : undefined;
  };
}

interface Waiting {
  readonly entity: string;
  readonly measured: Measured;
  readonly strength: number;
}

/** Waiting for a processor: the entity's own shortage, unless a neighbour on its host takes more than before. */
export function waitContributions(view: MetricView, neighbourhood: Neighbourhood): Contribution[] {
  const waiting = [...view.entities].flatMap(([entity, all]): Waiting[] => {
    const found = all.filter(({ series, deviation }) => series.metric === processMetric.runQueueWait && deviation.z > 0);
    const [worst] = found.sort((left, right) => right.deviation.z - left.deviation.z);
    const strength = worst === undefined ? 0 : strengthOf(worst.deviation.z);
    return worst === undefined || strength === 0 ? [] : [{ entity, measured: worst, strength }];
  });
  const blamed = new Map<string, { amount: number; waiting: Waiting[] }>();
  const own = waiting.map((item) => {
    const { hog, share } = takerOf(item.entity, view, neighbourhood);
    if (hog !== null) {
      const before = blamed.get(hog) ?? { amount: 0, waiting: [] };
      blamed.set(hog, { amount: Math.max(before.amount, item.strength * share), waiting: [...before.waiting, item] });
    }
    return waitOf(item, { view, hog, share });
  });
  return [...own, ...[...blamed].map(([hog, { amount, waiting: victims }]) => hogOf(hog, { view, amount, victims }))];
}

/** Cores that an entity takes more than before. */
function coresAdded(entity: string, view: MetricView): { cores: number; series: readonly Measured[] } {
  const series = (view.entities.get(entity) ?? []).filter(
    ({ series: one, deviation }) => one.metric === processMetric.cpuUtilization && deviation.z > 0,
  );
  return { cores: Math.max(0, ...series.map(({ deviation }) => gateOf(deviation.z) * (deviation.after - deviation.before))), series };
}

/** The neighbour on the entity's host that takes most more than before, and how much of the entity's waiting that explains, 0..1. */
function takerOf(entity: string, view: MetricView, neighbourhood: Neighbourhood): { hog: string | null; share: number } {
  const host = neighbourhood.entityOf(entity)?.host ?? null;
  if (host === null) return { hog: null, share: 0 };
  const own = coresAdded(entity, view).cores;
  let best: { hog: string | null; cores: number } = { hog: null, cores: Math.max(own, coresMin) };
  for (const other of neighbourhood.entities) {
    if (other.host !== host || other.id === entity || other.type === "host") continue;
    const { cores } = coresAdded(other.id, view);
    if (cores > best.cores) best = { hog: other.id, cores };
  }
  return best.hog === null ? { hog: null, share: 0 } : { hog: best.hog, share: (handedOn * (best.cores - own)) / best.cores };
}

function waitOf({ entity, measured, strength }: Waiting, of: { view: MetricView; hog: string | null; share: number }): Contribution {
  const { series, deviation } = measured;
  // Its own growth is counted already; waiting is the other side of the same shortage.
  const isOwn = coresAdded(entity, of.view).cores >= coresMin;
  const beside = of.hog === null ? "" : `, while ${of.hog} on its host takes more`;
  return {
    type: "entity",
    id: entity,
    channel: "internal",
    amount: strength * (1 - of.share) * (isOwn ? furtherShare : 1),
    text: `waited for a processor ${percentText(deviation.after)} of the time instead of ${percentText(deviation.before)}${beside}`,
    evidence: [series.id],
    onsetMs: deviation.onsetMs,
    kind: of.hog === null ? "cpu" : "noisy-neighbour",
  };
}

function hogOf(hog: string, of: { view: MetricView; amount: number; victims: readonly Waiting[] }): Contribution {
  const { cores, series } = coresAdded(hog, of.view);
  const evidence = [...series, ...of.victims.map(({ measured }) => measured)].map((item) => item.series.id);
  const onsets = series.flatMap(({ deviation }) => (deviation.onsetMs === null ? [] : [deviation.onsetMs]));
  const victims = of.victims.map(({ entity }) => entity).sort(compareCodeUnits);
  const named = victims.slice(0, 3).join(", ") + (victims.length > 3 ? ` and ${victims.length - 3} more` : "");
  const verb = victims.length === 1 ? "waits" : "wait";
  return {
    type: "entity",
    id: hog,
    channel: "internal",
    amount: of.amount,
    text: `takes ${percentText(cores)} of a core more than before while ${named} on its host ${verb} for a processor`,
    evidence: evidence.slice(0, 50),
    onsetMs: onsets.length === 0 ? null : Math.min(...onsets),
    kind: "cpu",
  };
}

/** How a trouble of connections is shared out: refusals speak of who refuses, losses of the way. */
const connectionShares: ReadonlyMap<string, { readonly callee: number; readonly dependency: number; readonly kind: FaultKind }> = new Map([
  [connectionMetric.failed, { callee: 1, dependency: 0.5, kind: "crash" as const }],
  [connectionMetric.reset, { callee: 0.6, dependency: 0.5, kind: "network" as const }],
  [connectionMetric.retransmits, { callee: 0.5, dependency: 1, kind: "network" as const }],
  [connectionMetric.roundTrip, { callee: 0.5, dependency: 1, kind: "network" as const }],
]);

/** Connections that fail, are reset, lose packets or take longer. */
export function connectionContributions(view: MetricView, neighbourhood: Neighbourhood): Contribution[] {
  const troubles = new Map<string, readonly { measured: Measured; strength: number }[]>();
  for (const edge of neighbourhood.edges) {
    const found = (view.edges.get(edge.id) ?? [])
      .filter(({ series, deviation }) => connectionShares.has(series.metric) && deviation.z > 0)
      .map((measured) => ({ measured, strength: strengthOf(measured.deviation.z) }))
      .filter(({ strength }) => strength > 0)
      .sort((left, right) => right.strength - left.strength || compareCodeUnits(left.measured.series.metric, right.measured.series.metric));
    if (found.length > 0) troubles.set(edge.id, found);
  }
  if (troubles.size === 0) return [];
  const worst = (edge: Edge): number => troubles.get(edge.id)?.[0]?.strength ?? 0;
  return neighbourhood.edges.flatMap((edge) => {
    const arriving = neighbourhood.callers(edge.target).flatMap((caller) => neighbourhood.edgeBetween(caller, edge.target) ?? []);
    const leaving = neighbourhood.callees(edge.source).flatMap((callee) => neighbourhood.edgeBetween(edge.source, callee) ?? []);
    const of = { edge, atCallee: coverage(arriving, worst), atCaller: leaving.length > 1 ? coverage(leaving, worst) : 0 };
    return (troubles.get(edge.id) ?? []).flatMap((item, index) => connectionTrouble({ ...item, place: index }, of));
  });
}

/** Share of the dependencies that suffer at least half as much as the worst of them. */
function coverage(edges: readonly Edge[], worst: (edge: Edge) => number): number {
  const most = Math.max(0, ...edges.map(worst));
  if (most === 0) return 0;
  return sumSorted(edges.map((edge) => Math.min(1, (2 * worst(edge)) / most))) / edges.length;
}

function connectionTrouble(
  { measured, strength, place }: { measured: Measured; strength: number; place: number },
  { edge, atCallee, atCaller }: { edge: Edge; atCallee: number; atCaller: number },
): Contribution[] {
  const { series, deviation } = measured;
  const shares = connectionShares.get(series.metric);
  if (shares === undefined) return [];
  const amount = place === 0 ? strength : (strength * furtherShare) / place;
  const change = `from ${valueText(series, deviation.before)} to ${valueText(series, deviation.after)}`;
  const text = `${series.metric} of the connections from ${edge.source} to ${edge.target} rose ${change}`;
  const common = { channel: "internal", text, evidence: [series.id], onsetMs: deviation.onsetMs } as const;
  const callersOwn = atCaller >= commonCoverage ? atCaller : 0;
  return [
    { ...common, type: "dependency", id: edge.id, amount: amount * shares.dependency * (1 - 0.5 * callersOwn), kind: "network" },
    { ...common, type: "entity", id: edge.target, amount: amount * shares.callee * atCallee * (1 - 0.5 * callersOwn), kind: shares.kind },
    { ...common, type: "entity", id: edge.source, amount: amount * 0.7 * callersOwn, kind: "network" },
  ];
}

/** System calls that wait for others or ask whether there is something: that they fail or take long says nothing of the caller. */
const waitingCalls: ReadonlySet<string> = new Set([
  ...["accept", "accept4", "connect", "shutdown", "recv", "recvfrom", "recvmsg", "recvmmsg", "send", "sendto", "sendmsg", "sendmmsg"],
  ...["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "futex", "futex_waitv"],
  ...["nanosleep", "clock_nanosleep", "wait4", "waitid", "waitpid", "pause", "rt_sigtimedwait", "rt_sigsuspend", "restart_syscall"],
  ...["io_getevents", "io_pgetevents", "io_uring_enter"],
]);
const fileCalls: ReadonlySet<string> = new Set([
  ...["read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "fsync", "fdatasync"],
  ...["open", "openat", "openat2", "creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "truncate", "ftruncate", "fallocate"],
  ...["mkdir", "mkdirat", "stat", "lstat", "fstat", "statx", "newfstatat", "getdents", "getdents64", "sync_file_range"],
]);
/** A hint beside what requests feel. */
const syscallShare = 0.5;

/** System calls of the entity's own that fail more often or take longer than they used to. */
export function syscallContributions(view: MetricView): Contribution[] {
  return [...view.entities].flatMap(([entity, all]) => {
    const growth = trafficGrowth(all);
    const items = all
      .filter(({ series, deviation }) => isOwnCall(series) && deviation.z > 0)
      .map((measured) => ({ measured, strength: internalStrength(measured, isTime(measured.series) ? 1 : growth) }))
      .filter(({ strength }) => strength > 0)
      .sort((left, right) => right.strength - left.strength || compareCodeUnits(left.measured.series.id, right.measured.series.id));
    return items.map(({ measured: { series, deviation }, strength }, index): Contribution => {
      const change = `from ${valueText(series, deviation.before)} to ${valueText(series, deviation.after)}`;
      return {
        type: "entity",
        id: entity,
        channel: "internal",
        amount: syscallShare * (index === 0 ? strength : (strength * furtherShare) / index),
        text: `${seriesText(series)} rose ${change}`,
        evidence: [series.id],
        onsetMs: deviation.onsetMs,
        kind: fileCalls.has(callOf(series)) ? "disk" : null,
      };
    });
  });
}

function isTime(series: Measured["series"]): boolean {
  return series.metric === processMetric.syscallDuration;
}

/** Quantiles of a duration one by one would count as many; how often a call is made follows what is asked of the entity. */
function isOwnCall(series: Measured["series"]): boolean {
  const isTold = series.metric === processMetric.syscallErrors || (isTime(series) && series.statistic === "p95");
  return isTold && callOf(series) !== "" && !waitingCalls.has(callOf(series));
}

function callOf({ attributes }: Measured["series"]): string {
  return /(?:^|,)syscall=([^,]*)/.exec(attributes)?.[1] ?? "";
}
