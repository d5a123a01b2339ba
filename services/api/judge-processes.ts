/** From what processes announced to how they are. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { SeenProcess } from "../../contract/port.ts";
import type { OverviewProcess } from "../../contract/route.ts";
import type { StageName } from "../../contract/topic.ts";
import { steady } from "./outage-words.ts";
import { placeInFlow } from "./role-words.ts";

/** A process announces itself every 2 s; one that is silent for longer than this does not answer. */
export const silentAfterMs = 6_000;
/** Clocks of hosts may differ by this when a start is compared with a moment of ours. */
const clockSlackMs = 10_000;

export interface JudgeOptions {
  /** The clock of the API. */
  readonly nowMs: number;
  /** Since when announcements can be heard without a break, by the same clock: who was not heard before that is given time to speak. */
  readonly heardSinceMs: number;
  /** `no`: nobody can be heard now, so nobody is judged. */
  readonly canHear: "yes" | "no";
}

/** In the order of the flow, then by host and process id, so that a row keeps its place whatever becomes of its process. */
export function judgeProcesses(seen: readonly SeenProcess[], options: JudgeOptions): OverviewProcess[] {
  const judged = seen.map((process) => judge(process, options));
  const replaced = replacedIds(judged, options.nowMs);
  return judged
    .map((process): OverviewProcess => (replaced.has(process.id) ? { ...process, state: "replaced" } : process))
    .sort(
      (left, right) =>
        placeInFlow(left.roles[0]) - placeInFlow(right.roles[0]) ||
        compareCodeUnits(left.host, right.host) ||
        left.startedAtMs - right.startedAtMs ||
        compareCodeUnits(left.id, right.id),
    );
}

/** Whether it can be counted on; one that waits or stops still answers. */
export function isAnswering(process: OverviewProcess): boolean {
  return process.state !== "lost" && process.state !== "replaced" && process.state !== "unknown";
}

function judge(process: SeenProcess, { nowMs, heardSinceMs, canHear }: JudgeOptions): OverviewProcess {
  const silentMs = Math.max(0, process.readAtMs - process.atMs);
  const isSilent = silentMs > silentAfterMs && nowMs - heardSinceMs > silentAfterMs;
  const heard = isSilent ? "lost" : process.state;
  return {
    id: process.id,
    roles: [...process.roles].sort((left, right) => placeInFlow(left) - placeInFlow(right)),
    host: process.host,
    pid: process.pid,
    version: process.version,
    startedAtMs: process.startedAtMs,
    state: canHear === "no" ? "unknown" : heard,
    reasons: process.reasons.map(steady),
    silentMs,
    lostSinceMs: isSilent && canHear === "yes" ? nowMs - silentMs : null,
    partitions: Object.fromEntries(Object.entries(process.partitions).map(([topic, partitions]) => [topic, [...partitions]])),
  };
}

/** A lost process and one that was started since and has all its roles make a pair; what was lost last is paired first. */
function replacedIds(processes: readonly OverviewProcess[], nowMs: number): ReadonlySet<string> {
  const free = processes.filter(isAnswering).sort((left, right) => left.startedAtMs - right.startedAtMs);
  const lost = processes.filter(({ state }) => state === "lost").sort((left, right) => left.silentMs - right.silentMs);
  const replaced = new Set<string>();
  for (const gone of lost) {
    const place = free.findIndex(
      ({ roles, startedAtMs }) => startedAtMs > nowMs - gone.silentMs - clockSlackMs && hasAll(roles, gone.roles),
    );
    if (place < 0) continue;
    free.splice(place, 1);
    replaced.add(gone.id);
  }
  return replaced;
}

function hasAll(roles: readonly StageName[], wanted: readonly StageName[]): boolean {
  return wanted.every((role) => roles.includes(role));
}
