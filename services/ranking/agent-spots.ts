/**
 * What the agents of the hosts around the symptoms did not see, by what they say of themselves: an agent that is silent, that observes less than it
 * was asked to, or that lost something. Read of stored windows only, so that the same stores give the same words.
 */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import { type Entity, hostEntityId } from "../../contract/entity.ts";
import type { BlindSpot, Interval } from "../../contract/evidence.ts";
import { agentMetric, agentSilentAfterMs } from "../../contract/kernel-telemetry.ts";
import type { StoredSeries, TelemetryStore } from "../../contract/port.ts";

/** Hosts whose agents are asked about; those beyond are passed over, the last by name. */
const hostsMax = 50;
/** Agents that are named for one thing; the rest is a number. */
const namedMax = 5;
const placesNamedMax = 3;
/** How far back a silent agent is looked for, the nearest first. */
const looksBackMs = [3_600_000, 86_400_000] as const;
const seriesPerHostMax = 60;

export interface AgentSpotsFrom {
  readonly telemetry: Pick<TelemetryStore, "series">;
  readonly fault: Interval;
  readonly windowMs: number;
}

/** Blind spots of the hosts on which the entities are; none of a host that never had an agent. At most six queries. */
export async function agentSpots(entities: readonly Pick<Entity, "host">[], from: AgentSpotsFrom): Promise<BlindSpot[]> {
  const named = new Set(entities.flatMap(({ host }) => (host === null ? [] : [host])));
  const hosts = sortedBy(named, (host) => host).slice(0, hostsMax);
  const toldMs = await toldWindows(hosts, from);
  if (toldMs.size === 0) return [];
  const agents = [...toldMs.keys()];
  return [
    ...silentSpots(toldMs, from),
    ...givenUpSpots(await seriesOf(agentMetric.givenUp, { hosts: agents, ...from.fault }, from)),
    ...missingSpots(await seriesOf(agentMetric.programMissing, { hosts: agents, ...from.fault }, from)),
    ...lostSpots(await seriesOf(agentMetric.dropped, { hosts: agents, ...from.fault }, from), from),
  ];
}

/** Windows in which the agent of each host told anything, in order of time, up to the end of the fault; the hosts in order. */
async function toldWindows(hosts: readonly string[], from: AgentSpotsFrom): Promise<Map<string, readonly number[]>> {
  const { fault } = from;
  const found = new Map<string, readonly number[]>();
  let toMs = fault.toMs;
  for (const backMs of looksBackMs) {
    const asked = hosts.filter((host) => !found.has(host));
    const fromMs = Math.min(fault.fromMs, fault.toMs - backMs);
    for (const { host, windows } of await seriesOf(agentMetric.level, { hosts: asked, fromMs, toMs }, from)) {
      const before = found.get(host) ?? [];
      const more = windows.map(({ atMs }) => atMs);
      found.set(
        host,
        [...before, ...more].sort((left, right) => left - right),
      );
    }
    toMs = fromMs;
  }
  return new Map([...found].sort(([left], [right]) => compareCodeUnits(left, right)));
}

interface HostSeries {
  readonly host: string;
  /** What the attribute `state` says. */
  readonly state: string;
  readonly windows: readonly { readonly atMs: number; readonly value: number }[];
}

async function seriesOf(
  metric: string,
  of: { readonly hosts: readonly string[] } & Interval,
  { telemetry }: AgentSpotsFrom,
): Promise<HostSeries[]> {
  const { hosts, fromMs, toMs } = of;
  if (hosts.length === 0 || toMs <= fromMs) return [];
  const byEntity = new Map(hosts.map((host) => [hostEntityId(host), host]));
  const range = { fromMs, toMs, metric, seriesMax: hosts.length * seriesPerHostMax };
  const stored = await telemetry.series({ ...range, entities: [...byEntity.keys()] });
  return stored.flatMap(({ key, samples }: StoredSeries) => {
    const host = byEntity.get(key.entity);
    if (host === undefined || samples.length === 0) return [];
    const windows = samples.map(({ windowStartMs, value }) => ({ atMs: windowStartMs, value }));
    return [{ host, state: /(?:^|,)state=([^,]*)/.exec(key.attributes)?.[1] ?? "", windows }];
  });
}

function silentSpots(toldMs: ReadonlyMap<string, readonly number[]>, from: AgentSpotsFrom): BlindSpot[] {
  const spots = [...toldMs].flatMap(([host, windows]) => {
    const gap = gapOf(windows, from);
    if (gap === null) return [];
    const { fromMs, toMs } = gap;
    const what =
      toMs === null
        ? `the agent on ${host} has been silent since ${timeText(fromMs)}`
        : `the agent on ${host} was silent from ${timeText(fromMs)} to ${timeText(toMs)}`;
    return [{ what, cost: "what the kernel saw is missing for services on it", command: startCommand }];
  });
  return bounded(spots, (left) => ({
    what: `${left} more agents were silent`,
    cost: "what the kernel saw is missing for services on their hosts",
    command: startCommand,
  }));
}

/** The silence up to the end of the fault, else the longest within it. */
function gapOf(windows: readonly number[], { fault, windowMs }: AgentSpotsFrom): { fromMs: number; toMs: number | null } | null {
  const silentAfterMs = agentSilentAfterMs(windowMs);
  const last = windows.at(-1);
  if (last === undefined) return null;
  if (fault.toMs - (last + windowMs) >= silentAfterMs) return { fromMs: last + windowMs, toMs: null };
  let longest: { fromMs: number; toMs: number } | null = null;
  for (const [at, toMs] of windows.entries()) {
    const before = windows[at - 1];
    if (before === undefined || toMs <= fault.fromMs) continue;
    const fromMs = before + windowMs;
    const lengthMs = toMs - fromMs;
    if (lengthMs >= silentAfterMs && (longest === null || lengthMs > longest.toMs - longest.fromMs)) longest = { fromMs, toMs };
  }
  return longest;
}

/** The one whose loss costs most last. */
const levelCosts: Readonly<Record<string, string>> = {
  syscalls: "system calls and opened files are not seen",
  schedule: "processor time and waits for a processor or a disk are not seen",
  payload: "long requests and answers are cut, so some are not understood",
  streams: "requests to datastores and brokers are not seen, only their connections",
  requests: "no request is seen, only connections: rates, times and failures are missing",
  connections: "connections are not seen either: only processes, files and hosts",
};

function givenUpSpots(series: readonly HostSeries[]): BlindSpot[] {
  const order = Object.keys(levelCosts);
  const spots = [...groupedByHost(series)].map(([host, list]) => {
    const levels = order.filter((level) => list.some(({ state }) => state === level));
    const worst = levels.at(-1);
    return {
      what: `the agent on ${host} gave up ${levels.join(", ") || "a part of its work"} during the fault to keep its budget`,
      cost: worst === undefined ? "less is seen than was asked for" : (levelCosts[worst] ?? ""),
      command: "headwater agent --config headwater.yaml (with agent.cpuBudget or agent.memoryMaxMb raised)",
    };
  });
  return bounded(spots, (left) => ({
    what: `${left} more agents gave up parts of their work during the fault`,
    cost: "less is seen on their hosts than was asked for",
    command: "headwater agent --config headwater.yaml (with agent.cpuBudget or agent.memoryMaxMb raised)",
  }));
}

function missingSpots(series: readonly HostSeries[]): BlindSpot[] {
  const spots = [...groupedByHost(series)].map(([host, list]) => ({
    what: `the agent on ${host} works without ${someOf(list.map(({ state }) => state))}`,
    cost: "what these programs tell of the kernel is missing",
    command: doctorCommand,
  }));
  return bounded(spots, (left) => ({
    what: `${left} more agents work without some programs`,
    cost: "what they tell is missing",
    command: doctorCommand,
  }));
}

/** Places at which something of what was seen is gone; those of what was only not told twice, or not kept as an example, are none. */
const lossPlaces = /^kernel-(?!limited$)|unreadable|-refused$|not-waited-for$/;

function lostSpots(series: readonly HostSeries[], { windowMs }: AgentSpotsFrom): BlindSpot[] {
  const lost = series.filter(({ state }) => lossPlaces.test(state));
  const spots = [...groupedByHost(lost)].flatMap(([host, list]) => {
    const places = list.map(({ state, windows }) => ({ state, count: countOf(windows, windowMs) })).filter(({ count }) => count > 0);
    if (places.length === 0) return [];
    places.sort((left, right) => right.count - left.count || compareCodeUnits(left.state, right.state));
    return [
      {
        what: `the agent on ${host} lost records during the fault: ${someOf(places.map(({ state, count }) => `${count} at ${state}`))}`,
        cost: "counts of requests and connections there are too low, and events may be missing",
        command: doctorCommand,
      },
    ];
  });
  return bounded(spots, (left) => ({ what: `${left} more agents lost records`, cost: "counts there are too low", command: doctorCommand }));
}

/** A rate is per second. */
function countOf(windows: HostSeries["windows"], windowMs: number): number {
  return Math.round(windows.reduce((sum, { value }) => sum + value * (windowMs / 1_000), 0));
}

const startCommand = "headwater agent --config headwater.yaml";
const doctorCommand = "headwater doctor";

function groupedByHost(series: readonly HostSeries[]): Map<string, HostSeries[]> {
  const groups = new Map<string, HostSeries[]>();
  for (const one of sortedBy(series, ({ host, state }) => `${host}\n${state}`))
    groups.set(one.host, [...(groups.get(one.host) ?? []), one]);
  return groups;
}

function someOf(names: readonly string[]): string {
  const left = names.length - placesNamedMax;
  return names.slice(0, placesNamedMax).join(", ") + (left > 0 ? ` and ${left} more` : "");
}

function bounded(spots: readonly BlindSpot[], rest: (left: number) => BlindSpot): BlindSpot[] {
  const left = spots.length - namedMax;
  return left <= 0 ? [...spots] : [...spots.slice(0, namedMax), rest(left)];
}

function timeText(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
