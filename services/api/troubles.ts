/** What is wrong with Headwater itself, heaviest first: the rules. Pure, so that each can be tested with facts made by hand. */
import type { Trouble } from "../../contract/route.ts";
import { agentTroubles } from "./agent-troubles.ts";
import { isAnswering } from "./judge-processes.ts";
import { lostBatches } from "./lost-batches.ts";
import type { QueueDepth, StoreAway, StoreName, TroubleFacts } from "./trouble-facts.ts";
import {
  lostProcesses,
  missingRoles,
  replacedProcesses,
  unansweredRoles,
  unownedPartitions,
  waitingFor,
  waitingProcesses,
} from "./trouble-processes.ts";

/** Troubles answered; whoever has more begins with these. */
const troublesMax = 50;
const detailsMax = 20;
/** A queue is told of from here on, as a share of its bound. */
const fullRatio = 0.8;
const weights: Record<Trouble["weight"], number> = { stopped: 0, weakened: 1, notice: 2 };

/**
 * Sentences for the operator, sorted by weight, then from what others depend on to what depends on others. They hold no number that moves by
 * itself, so that they change only when something changed.
 */
export function troublesOf(facts: TroubleFacts): Trouble[] {
  const troubles = [
    ...storesAway(facts),
    ...unansweredRoles(facts),
    ...missingRoles(facts),
    ...waitingProcesses(facts),
    ...deepQueues(facts),
    ...readersBehind(facts),
    ...lostProcesses(facts),
    ...unownedPartitions(facts),
    ...lostBatches(facts),
    ...deadLetters(facts),
    ...replacedProcesses(facts),
  ];
  const agents = agentTroubles(facts, { flows: troubles.some(({ weight }) => weight === "stopped") ? "no" : "yes" });
  return [...troubles, ...agents].sort((left, right) => weights[left.weight] - weights[right.weight]).slice(0, troublesMax);
}

const storeOrder: readonly StoreName[] = ["queue", "events", "graph", "telemetry"];

const storeWords: Record<StoreName, { sentence: string; meaning: string; shown: string }> = {
  queue: {
    sentence: "The queue cannot be reached.",
    meaning: "Nothing is taken in: senders are asked to come back. What was accepted is kept.",
    shown: "How the processes are is not known until it is back.",
  },
  events: {
    sentence: "The event store cannot be reached.",
    meaning: "No incident opens or moves on, and none can be acknowledged.",
    shown: "Incidents are shown as they were last read.",
  },
  graph: {
    sentence: "The graph cannot be reached.",
    meaning: "New calls wait in the log, incidents and verdicts wait for the graph.",
    shown: "Services and dependencies are shown as they were last read.",
  },
  telemetry: {
    sentence: "The telemetry store cannot be reached.",
    meaning: "Windows wait in the log and are not lost; verdicts wait for their evidence.",
    shown: "Figures are shown as they were last read.",
  },
};

function storesAway(facts: TroubleFacts): Trouble[] {
  const told = facts.stores.filter((away) => !isToldByRole(away, facts));
  return told
    .sort((left, right) => storeOrder.indexOf(left.store) - storeOrder.indexOf(right.store))
    .map(({ store, away, wasRead }) => ({
      id: `store/${store}`,
      weight: "stopped" as const,
      sentence: storeWords[store].sentence,
      meaning: `${storeWords[store].meaning} ${wasRead === "yes" || store === "queue" ? storeWords[store].shown : "What it holds cannot be shown yet."}`,
      details: [away.message, ...waitingFor(away.message, facts)].slice(0, detailsMax),
      command: null,
      commandHost: null,
      sinceMs: away.sinceMs,
    }));
}

/** Where nobody with the role `store` answers, that is the trouble, and the store away its consequence. */
function isToldByRole({ store }: StoreAway, facts: TroubleFacts): boolean {
  if (store !== "telemetry") return false;
  const isLost = facts.processes.some(({ state, roles }) => state === "lost" && roles.includes("store"));
  const hasOther = facts.processes.some((process) => isAnswering(process) && process.roles.includes("store"));
  return (isLost && !hasOther) || facts.missing.some(({ role }) => role === "store");
}

function deepQueues(facts: TroubleFacts): Trouble[] {
  const deep = facts.depths.filter(({ depth, depthMax }) => depth >= depthMax * fullRatio);
  return deep.map((queue) => {
    const isFull = queue.depth >= queue.depthMax;
    return {
      id: `queue/${queue.topic}/${queue.reader}`,
      weight: isFull ? ("stopped" as const) : ("weakened" as const),
      sentence: isFull
        ? `The queue of ${queue.topic} for ${queue.reader} is full.`
        : `The queue of ${queue.topic} for ${queue.reader} is more than ${fullRatio * 100} % full.`,
      meaning: boundMeaning(queue),
      details: [`it holds ${queue.depthMax} messages at most`],
      command: null,
      commandHost: null,
      sinceMs: null,
    };
  });
}

function boundMeaning({ reader, atBound }: QueueDepth): string {
  const then =
    atBound === "refuse" ? "when it is full, senders are asked to come back later" : "when it is full, whoever writes into it waits";
  return `More arrives than ${reader} handles; ${then}. Nothing that was accepted is lost. Another ${reader} process works it off sooner.`;
}

function readersBehind(facts: TroubleFacts): Trouble[] {
  return facts.behind.map(({ topic, role }) => ({
    id: `behind/${topic}`,
    weight: "weakened" as const,
    sentence: `${role.charAt(0).toUpperCase()}${role.slice(1)} is more than a minute behind.`,
    meaning: `What is shown is older than it looks; the ${topic} log keeps what waits. Another ${role} process works it off sooner.`,
    details: [],
    command: `headwater start --role ${role} --config headwater.yaml`,
    commandHost: null,
    sinceMs: null,
  }));
}

function deadLetters({ deadLetters: { count, isAll, kinds, bodiesLost } }: TroubleFacts): Trouble[] {
  if (count === 0) return [];
  const messages = isAll === "no" ? `${count} messages or more` : `${count} ${count === 1 ? "message" : "messages"}`;
  return [
    {
      id: "dead-letters",
      weight: "weakened",
      sentence: `${messages} could not be handled.`,
      meaning: setAsideMeaning(count, bodiesLost),
      details: kinds.slice(0, detailsMax),
      command: "headwater dead-letters list",
      commandHost: null,
      sinceMs: null,
    },
  ];
}

function setAsideMeaning(count: number, bodiesLost: number): string {
  if (bodiesLost > 0 && bodiesLost === count)
    return "Their bodies are gone from Redis, so putting them back is in vain: what they would have told is lost.";
  const setAside =
    "They are set aside and nothing of them is lost; what they would have told is missing. Put them back once the cause is gone.";
  if (bodiesLost === 0) return setAside;
  return `The bodies of ${bodiesLost} of them are gone from Redis: what those would have told is lost. The others are set aside; put them back once the cause is gone.`;
}
