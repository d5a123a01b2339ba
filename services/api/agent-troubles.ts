/** Agents that tell nothing any more, and those that their platform cannot run. Pure. */
import { agentMetric, agentSilentAfterMs } from "../../contract/kernel-telemetry.ts";
import type { SeriesSummary } from "../../contract/port.ts";
import type { Trouble } from "../../contract/route.ts";
import { isAnswering } from "./judge-processes.ts";
import type { SilentAgent, TroubleFacts } from "./trouble-facts.ts";

/** An agent that has been silent for longer was taken away on purpose. */
const toldForMs = 86_400_000;
/** The longest interval of an agent with long windows; an agent tells at least once in a window. */
const intervalMaxMs = 5_000;
const slackMs = 2_000;
const hostPrefix = "host/";
const detailsMax = 20;

export interface SilentFrom {
  readonly newestWindowMs: number | null;
  readonly windowMs: number;
  readonly sourceSilentMs: number;
  readonly nowMs: number;
  /** When this API was started. */
  readonly sinceMs: number;
}

/**
 * Agents whose own series have ended while those of others went on; where nobody else tells anything, those that are late by the clock. Both
 * are known within 30 s with windows of 10 s.
 */
export function silentAgents(summaries: readonly SeriesSummary[], from: SilentFrom): SilentAgent[] {
  const { newestWindowMs, windowMs, sourceSilentMs, nowMs, sinceMs } = from;
  // Windows of an agent that works are this late at most: it may tell at the end of an interval, and a source that ended holds windows open.
  const lateMs = windowMs + sourceSilentMs + Math.min(windowMs, intervalMaxMs) + slackMs;
  if (nowMs - sinceMs < lateMs) return [];
  return summaries
    .filter(({ key }) => key.metric === agentMetric.level && key.entity.startsWith(hostPrefix))
    .flatMap(({ key, lastAtMs }): SilentAgent[] => {
      const agent = { host: key.entity.slice(hostPrefix.length), sinceMs: lastAtMs + windowMs };
      if (nowMs - agent.sinceMs > toldForMs) return [];
      if ((newestWindowMs ?? 0) - lastAtMs >= agentSilentAfterMs(windowMs)) return [{ ...agent, by: "others" }];
      return nowMs - agent.sinceMs > lateMs ? [{ ...agent, by: "clock" }] : [];
    });
}

const meaning =
  "What only the kernel tells is missing for services on this host. Nothing else is touched by that; verdicts name it as a blind spot.";

/** `flows`: whether what is sent arrives; where it does not, nobody is silent for it. */
export function agentTroubles(facts: TroubleFacts, { flows }: { flows: "yes" | "no" }): Trouble[] {
  const reasons = agentReasons(facts);
  const silent = facts.silentAgents.filter(({ by }) => by === "others" || flows === "yes");
  const hosts = new Set(silent.map(({ host }) => host));
  return [
    ...silent.map(({ host, sinceMs }) => ({
      id: `agent/${host}`,
      weight: "weakened" as const,
      sentence: `The agent on ${host} is silent.`,
      meaning,
      details: (reasons.get(host) ?? []).slice(0, detailsMax),
      command: "headwater agent --config headwater.yaml",
      commandHost: host,
      sinceMs,
    })),
    ...[...reasons]
      .filter(([host]) => !hosts.has(host))
      .map(([host, said]) => ({
        id: `agent/${host}`,
        weight: "weakened" as const,
        sentence: `The agent on ${host} does not observe.`,
        meaning,
        details: said.slice(0, detailsMax),
        command: "headwater doctor",
        commandHost: host,
        sinceMs: null,
      })),
  ];
}

/** Whether a reason of a process is about the agent that it runs, and not about what the process itself waits for. */
export function isAgentReason(reason: string): boolean {
  return reason.startsWith("the agent ");
}

/** What platforms say of the agents that they run, by host: a process that is well and has a reason all the same says it of its agent. */
function agentReasons({ processes }: TroubleFacts): Map<string, string[]> {
  const said = new Map<string, string[]>();
  for (const process of processes.filter(isAnswering)) {
    // One that starts does so along with its platform.
    const told = process.reasons.filter((reason) => isAgentReason(reason) && reason !== "the agent is starting");
    if (told.length > 0) said.set(process.host, [...(said.get(process.host) ?? []), ...told]);
  }
  return said;
}
