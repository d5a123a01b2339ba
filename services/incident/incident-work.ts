/** What the incident stage keeps of an incident while it is open or in its cool-down, and what it wants done. */
import { compareCodeUnits, contentHash, sortedBy } from "../../contract/canonical.ts";
import type { Impact, Incident, IncidentEvent } from "../../contract/incident.ts";
import type { VerdictRequest } from "../../contract/verdict.ts";
import type { PageDecision, PageOccasion } from "./decide.ts";
import { type Severity, worseSeverity } from "./severity.ts";

type OpenedEvent = Extract<IncidentEvent, { type: "opened" }>;

/** `open` begins a stream; the number is given when it is written. */
export type Effect =
  | { readonly type: "open"; readonly incident: string; readonly opened: Omit<OpenedEvent, "number"> }
  | { readonly type: "append"; readonly incident: string; readonly events: readonly IncidentEvent[] }
  | { readonly type: "ask"; readonly request: VerdictRequest }
  | { readonly type: "page"; readonly incident: string; readonly occasion: PageOccasion; readonly decision: PageDecision };

interface WorkAlert {
  readonly id: string;
  readonly entity: string;
  readonly objective: string;
  readonly startsAtMs: number;
  /** `own`: an objective of ours; `other`: declared by another system, which also says when it ends. */
  readonly source: "own" | "other";
  active: boolean;
}

/** Plain data: it is the checkpoint's form too. */
export interface IncidentWork {
  readonly id: string;
  readonly onsetMs: number;
  readonly openedMs: number;
  lastAlertMs: number;
  severity: Severity;
  alerts: WorkAlert[];
  /** As recorded last, per entity and objective. */
  impacts: Impact[];
  /** Anomalies that joined, and whether their end is recorded. */
  joined: { readonly id: string; state: "open" | "close" }[];
  /** What the offsets of verdict requests count from, and the earliest moment one is asked for. */
  askOnsetMs: number;
  askFromMs: number;
  asked: VerdictRequest["reason"][];
  version: number;
  resolvedMs: number | null;
  resolvedBy: "recovery" | "person" | null;
}

const offsets: readonly { readonly reason: VerdictRequest["reason"]; readonly afterMs: number }[] = [
  { reason: "onset+5s", afterMs: 5_000 },
  { reason: "onset+15s", afterMs: 15_000 },
  { reason: "onset+30s", afterMs: 30_000 },
  { reason: "onset+60s", afterMs: 60_000 },
  { reason: "onset+120s", afterMs: 120_000 },
];

/**
 * The request that is due at a tick, or null. Of several that fell due together only the latest is asked; one that was due before
 * the incident opened is asked for the tick that opened it, so that what was seen by then is in it.
 */
export function dueRequest(work: IncidentWork, tickMs: number): VerdictRequest | null {
  const due = offsets.filter(({ reason, afterMs }) => work.askOnsetMs + afterMs <= tickMs && !work.asked.includes(reason));
  const latest = due.at(-1);
  if (latest === undefined) return null;
  work.asked.push(...due.map(({ reason }) => reason));
  return nextRequest(work, { reason: latest.reason, askedForMs: Math.max(work.askOnsetMs + latest.afterMs, work.askFromMs) });
}

/** Takes the next version number for a request. */
export function nextRequest(work: IncidentWork, asked: { reason: VerdictRequest["reason"]; askedForMs: number }): VerdictRequest {
  work.version += 1;
  const symptoms = sortedBy(work.alerts, (alert) => `${alert.entity} ${alert.objective} ${alert.id}`);
  return {
    id: contentHash(["verdict-request", work.id, work.version, asked.reason]),
    incident: work.id,
    version: work.version,
    askedForMs: asked.askedForMs,
    reason: asked.reason,
    onsetMs: work.askOnsetMs,
    symptoms: symptoms.map(({ entity, objective, startsAtMs }) => ({ entity, metric: objective, atMs: startsAtMs })),
  };
}

/** Records how an entity is hurt now; answers whether that is news: ten points more of its requests, or a more urgent severity. */
export function worsen(work: IncidentWork, now: { impact: Impact; severity: Severity }): boolean {
  const at = work.impacts.findIndex(({ entity, objective }) => entity === now.impact.entity && objective === now.impact.objective);
  const before = work.impacts[at];
  const severity = worseSeverity(work.severity, now.severity);
  if (before !== undefined && severity === work.severity && now.impact.badRatio < before.badRatio + 0.1) return false;
  if (before !== undefined && now.impact.badRatio < before.badRatio) return false;
  if (before === undefined) work.impacts.push(now.impact);
  else work.impacts[at] = now.impact;
  work.severity = severity;
  return true;
}

/** Entities whose objectives are part of the incident, sorted. */
export function concernedEntities(work: IncidentWork): string[] {
  return [...new Set(work.alerts.map((alert) => alert.entity))].sort(compareCodeUnits);
}

/** The work of an incident that is open in the event store and that no checkpoint knows. */
export function workOf(incident: Incident): IncidentWork {
  const verdicts = incident.verdicts;
  return {
    id: incident.id,
    onsetMs: incident.onsetMs,
    openedMs: incident.openedMs,
    lastAlertMs: incident.openedMs,
    severity: incident.severity,
    alerts: incident.alerts.map(({ id, entity, objective, startsAtMs, endsAtMs }) => ({
      id,
      entity,
      objective,
      startsAtMs,
      source: objective === "availability" || objective === "latency" ? "own" : "other",
      active: endsAtMs === null,
    })),
    impacts: [...incident.impacts],
    joined: incident.anomalies.map(({ id, state }) => ({ id, state: state === "close" ? "close" : "open" })),
    askOnsetMs: incident.onsetMs,
    askFromMs: incident.openedMs,
    asked: verdicts.map((verdict) => verdict.reason),
    version: verdicts.at(-1)?.version ?? 0,
    resolvedMs: null,
    resolvedBy: null,
  };
}
