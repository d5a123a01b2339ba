/** What each role is there for, as consequences: what an operator and a user miss when nobody does its work. */
import type { StageName } from "../../contract/topic.ts";

/** Roles without which the flow does not work, in its order. */
export const flowRoles = ["gateway", "ingest", "detection", "topology", "incident", "ranking", "api", "store"] as const;
export type FlowRole = (typeof flowRoles)[number];

/** What it means that no process with the role works. Whole sentences. */
export const unansweredMeaning: Record<FlowRole, string> = {
  gateway: "Nothing is taken in. Senders keep what they can and try again, then drop it.",
  ingest: "Accepted telemetry waits in the queue and is not lost; nothing of it is seen until ingest works again.",
  detection: "No window closes, so there are no new samples and no new anomalies. What was ingested waits in the log.",
  topology: "The map stands still; new calls wait in the log.",
  incident: "No incident opens and none moves on, so nobody is paged. Anomalies wait in the log.",
  ranking: "Incidents open, but get no verdict until ranking works again.",
  api: "Nobody else reaches the page or the API over that process.",
  store: "Series and spans can be neither read nor written: charts are empty, verdicts lack evidence, detection waits.",
};

/** What it means that some processes of a role work and others do not. */
export const weakenedMeaning: Record<FlowRole, string> = {
  gateway: "Senders that were pointed at it find nobody there.",
  ingest: "The others take over its batches within 10 s; the queue is worked off more slowly.",
  detection: "The others take over its partitions within 3 s and have more to do.",
  topology: "The others take over its partitions within 3 s and have more to do.",
  incident: "Another one takes over within 3 s; with one process fewer to stand by.",
  ranking: "The others take over its requests within 10 s; verdicts may come later.",
  api: "The page and the API over that process do not answer.",
  store: "Whoever was pointed at that process cannot read or write telemetry.",
};

/** Place of a role in the flow; roles outside of it come last. */
export function placeInFlow(role: StageName | undefined): number {
  const place = flowRoles.indexOf(role as FlowRole);
  return place < 0 ? flowRoles.length : place;
}

export function isFlowRole(role: StageName): role is FlowRole {
  return flowRoles.includes(role as FlowRole);
}

/** "a", "a and b", "a, b and c". */
export function listed(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
