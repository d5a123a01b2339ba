/** Troubles with processes: roles that nobody does, processes that are gone, wait, or leave partitions alone. Pure. */
import type { OverviewProcess, Trouble } from "../../contract/route.ts";
import type { StageName } from "../../contract/topic.ts";
import { isAgentReason } from "./agent-troubles.ts";
import { isAnswering } from "./judge-processes.ts";
import { bare, serverOf } from "./outage-words.ts";
import { type FlowRole, flowRoles, isFlowRole, listed, unansweredMeaning, weakenedMeaning } from "./role-words.ts";
import type { MissingRole, TroubleFacts, UnownedPartitions } from "./trouble-facts.ts";

/** Replacements of processes with the same roles within an hour that are worth a word. */
const replacedMin = 3;
const alike = "Killed or paused, which look alike from here: the command lets it go on, or starts a new one.";

/** One for each role that has lost processes only. */
export function unansweredRoles(facts: TroubleFacts): Trouble[] {
  return flowRoles.flatMap((role) => {
    const lost = lostWith(role, facts.processes);
    const last = newestOf(lost);
    if (last === null || answeringWith(role, facts.processes).length > 0) return [];
    return [
      {
        id: `unanswered/${role}`,
        weight: "stopped" as const,
        sentence: `No ${role} process answers.`,
        meaning: `${meaningOf(role, facts)} ${alike}`,
        details: [...lost.map(labelOf), ...storeMessage(role, facts)],
        command: goOnCommand(last),
        commandHost: last.host,
        sinceMs: last.lostSinceMs,
      },
    ];
  });
}

/** Roles that no process has. */
export function missingRoles(facts: TroubleFacts): Trouble[] {
  return facts.missing.map(({ role, why, sinceMs }) => ({
    id: `missing/${role}`,
    weight: "stopped" as const,
    sentence: `No ${role} process runs.`,
    meaning: `${meaningOf(role, facts)} ${missingBecause[why]}`,
    details: storeMessage(role, facts),
    command: startCommand([role]),
    commandHost: null,
    sinceMs,
  }));
}

const missingBecause: Record<MissingRole["why"], string> = {
  stopped: "The last one stopped in order.",
  forgotten: "The last one has been silent for more than an hour.",
  never: "None has announced itself: it was not started, or waits for a server at its start, which its /readyz then says.",
};

/** Lost processes whose roles others still have: lighter. */
export function lostProcesses(facts: TroubleFacts): Trouble[] {
  const lost = facts.processes.filter(
    ({ state, roles }) => state === "lost" && roles.every((role) => answeringWith(role, facts.processes).length > 0),
  );
  return lost.map((process) => ({
    id: `lost/${process.id}`,
    weight: "weakened" as const,
    sentence: `${capital(labelOf(process))} does not answer; ${othersOf(process, facts.processes)}.`,
    meaning: `${weakenedMeaningOf(process)} ${alike}`,
    details: [],
    command: goOnCommand(process),
    commandHost: process.host,
    sinceMs: process.lostSinceMs,
  }));
}

/** Processes that wait, by what they wait for; `stopped` where a role has only such processes. A store that is told of anyway is not repeated. */
export function waitingProcesses(facts: TroubleFacts): Trouble[] {
  const told = new Set(facts.stores.map(({ away }) => reasonKey(away.message)));
  return [...waitingByReason(facts.processes)]
    .filter(([key]) => !told.has(key))
    .map(([key, { reason, processes }]) => {
      const server = serverOf(reason);
      const roles = flowRoles.filter((role) => processes.some((process) => process.roles.includes(role)));
      const halted = haltedRoles(roles, facts.processes);
      return {
        id: `waiting/${key}`,
        weight: halted.length > 0 ? ("stopped" as const) : ("weakened" as const),
        sentence: `${capital(listed(roles))} ${roles.length === 1 ? "waits" : "wait"}: ${server === null ? reason : `${server} cannot be reached`}.`,
        meaning: `${haltedMeaning(halted, facts)} Work goes on by itself when that is over.`,
        details: processes.map(labelOf).slice(0, 20),
        command: null,
        commandHost: null,
        sinceMs: null,
      };
    });
}

/** Labels of the processes that wait for what this message says. */
export function waitingFor(message: string, { processes }: TroubleFacts): string[] {
  return (waitingByReason(processes).get(reasonKey(message))?.processes ?? []).map((process) => `${labelOf(process)} waits for it`);
}

/** Whoever waits for a server says so in words of its own; the server is what they have in common. */
function reasonKey(reason: string): string {
  return serverOf(reason) ?? bare(reason);
}

function waitingByReason(processes: readonly OverviewProcess[]): Map<string, { reason: string; processes: OverviewProcess[] }> {
  const found = new Map<string, { reason: string; processes: OverviewProcess[] }>();
  for (const process of processes.filter(isWaiting)) {
    const reasons = process.reasons.filter((reason) => !isAgentReason(reason));
    for (const reason of reasons.length === 0 ? ["it does not say for what"] : reasons) {
      const group = found.get(reasonKey(reason)) ?? { reason: bare(reason), processes: [] };
      if (!group.processes.includes(process)) group.processes.push(process);
      found.set(reasonKey(reason), group);
    }
  }
  return found;
}

/** The API answers while it waits. */
function haltedRoles(roles: readonly FlowRole[], processes: readonly OverviewProcess[]): FlowRole[] {
  return roles.filter((role) => role !== "api" && answeringWith(role, processes).every(isWaiting));
}

/** Partitions that nobody works on although somebody with the role answers. */
export function unownedPartitions(facts: TroubleFacts): Trouble[] {
  const told = facts.unowned.filter(({ role }) => answeringWith(role, facts.processes).some((process) => !isWaiting(process)));
  return told.map((unowned) => ({
    id: `unowned/${unowned.topic}`,
    weight: "weakened" as const,
    sentence: `${partitionsOf(unowned)} of the ${unowned.topic} log ${unowned.partitions.length === 1 ? "has" : "have"} no ${unowned.role} process.`,
    meaning: "What belongs to them waits in the log and is not lost. Partitions of a process that ended are taken over within 3 s.",
    details: [`partitions ${unowned.partitions.join(", ")}`],
    command: null,
    commandHost: null,
    sinceMs: unowned.sinceMs,
  }));
}

/** Processes that end again and again, and are started again by whoever watches them. */
export function replacedProcesses(facts: TroubleFacts): Trouble[] {
  const byRoles = new Map<string, OverviewProcess[]>();
  for (const process of facts.processes.filter(({ state }) => state === "replaced")) {
    const roles = process.roles.join(", ");
    byRoles.set(roles, [...(byRoles.get(roles) ?? []), process]);
  }
  const often = [...byRoles].filter(([, replaced]) => replaced.length >= replacedMin);
  return often.map(([roles, replaced]) => ({
    id: `replaced/${roles}`,
    weight: "notice" as const,
    sentence: `${capital(roles)} was started again ${replaced.length} times within the last hour without having stopped in order.`,
    meaning: "Nothing is lost by that. The end of the log of such a process says why it ended.",
    details: replaced.map(labelOf).slice(0, 20),
    command: null,
    commandHost: null,
    sinceMs: null,
  }));
}

function isWaiting(process: OverviewProcess): boolean {
  return process.state === "waiting" || (process.state === "starting" && process.reasons.length > 0);
}

function answeringWith(role: StageName, processes: readonly OverviewProcess[]): OverviewProcess[] {
  return processes.filter((process) => isAnswering(process) && process.roles.includes(role));
}

function lostWith(role: StageName, processes: readonly OverviewProcess[]): OverviewProcess[] {
  return processes.filter(({ state, roles }) => state === "lost" && roles.includes(role));
}

/** The one that was heard of last. */
function newestOf(processes: readonly OverviewProcess[]): OverviewProcess | null {
  return processes.reduce<OverviewProcess | null>(
    (newest, process) => (newest === null || process.silentMs < newest.silentMs ? process : newest),
    null,
  );
}

function labelOf({ roles, host, pid }: OverviewProcess): string {
  return `${roles.join(", ")} on ${host} (pid ${pid})`;
}

function meaningOf(role: FlowRole, { graphThroughMs }: TroubleFacts): string {
  if (role !== "topology" || graphThroughMs === null || graphThroughMs === 0) return unansweredMeaning[role];
  // The moment stands still with the map, so the sentence does not change while the trouble lasts.
  return `Dependencies stay as of ${new Date(graphThroughMs).toISOString().slice(11, 19)} UTC; new calls wait in the log.`;
}

function haltedMeaning(halted: readonly FlowRole[], facts: TroubleFacts): string {
  if (halted.length === 0) return "Others with the same roles go on.";
  if (halted.length <= 2) return halted.map((role) => meaningOf(role, facts)).join(" ");
  return "What arrives for them waits in queue and log and is not lost.";
}

function weakenedMeaningOf({ roles }: OverviewProcess): string {
  const [role] = roles;
  if (roles.length !== 1 || role === undefined || !isFlowRole(role)) return "Others have its roles and take over its work.";
  return weakenedMeaning[role];
}

function othersOf(process: OverviewProcess, processes: readonly OverviewProcess[]): string {
  const [role] = process.roles;
  if (process.roles.length !== 1 || role === undefined) return "others with its roles do";
  const others = answeringWith(role, processes).length;
  return others === 1 ? `1 other ${role} process does` : `${others} other ${role} processes do`;
}

/** What the API itself heard from the telemetry store belongs to the role behind it. */
function storeMessage(role: FlowRole, { stores }: TroubleFacts): string[] {
  if (role !== "store") return [];
  return stores.filter(({ store }) => store === "telemetry").map(({ away }) => away.message);
}

/** Continuing a process that runs does it no harm, whoever has the number by now. */
function goOnCommand({ pid, roles }: OverviewProcess): string {
  return `kill -CONT ${pid} || ${startCommand(roles)}`;
}

function startCommand(roles: readonly StageName[]): string {
  return `headwater start --role ${roles.join(",")} --config headwater.yaml`;
}

function partitionsOf({ partitions }: UnownedPartitions): string {
  return `${partitions.length} ${partitions.length === 1 ? "partition" : "partitions"}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
