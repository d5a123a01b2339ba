/**
 * An incident is the fold of its events (design §5); this is the one place that says how.
 * Pure: the same events give the same state, in the stage, in the API and in the report.
 */
import { compareCodeUnits } from "./canonical.ts";
import type { Impact, Incident, IncidentEvent } from "./incident.ts";
import { invariant } from "./invariant.ts";

/** The state after `events`, in the order of their sequence; null when they do not begin with `opened`. */
export function foldIncident(id: string, events: readonly IncidentEvent[]): Incident | null {
  const [first, ...rest] = events;
  if (first?.type !== "opened") return null;
  const opened: Incident = {
    id,
    number: first.number,
    status: "open",
    severity: first.severity,
    onsetMs: first.onsetMs,
    openedMs: first.atMs,
    acknowledgedMs: null,
    acknowledgedBy: null,
    resolvedMs: null,
    alerts: [first.alert],
    impacts: [first.impact],
    anomalies: [],
    verdicts: [],
    timeline: [{ atMs: first.atMs, actor: first.actor, text: eventText(first) }],
    sequence: 1,
  };
  return rest.reduce((incident, event) => foldNext(incident, event), opened);
}

function foldNext(before: Incident, event: IncidentEvent): Incident {
  const text = eventText(event);
  const incident: Incident = {
    ...before,
    sequence: before.sequence + 1,
    timeline: [...before.timeline, { atMs: event.atMs, actor: event.actor, text }],
  };
  switch (event.type) {
    case "opened":
      // A second opening says nothing new; a stream begins once.
      return { ...incident, timeline: before.timeline };
    case "alert-joined":
      return {
        ...incident,
        alerts: [...before.alerts.filter((alert) => alert.id !== event.alert.id), event.alert],
        impacts: withImpact(before.impacts, event.impact),
      };
    case "anomalies-joined":
      return { ...incident, anomalies: withAnomalies(before.anomalies, event.anomalies) };
    case "impact-changed":
      return { ...incident, severity: event.severity, impacts: withImpact(before.impacts, event.impact) };
    case "verdict-added":
      return { ...incident, verdicts: withVerdict(before.verdicts, event.verdict) };
    case "acknowledged":
      return { ...incident, ...acknowledged(before, event) };
    case "recovered":
      return { ...incident, status: before.status === "resolved" ? "resolved" : "mitigated" };
    case "resolved":
      return { ...incident, status: "resolved", resolvedMs: event.atMs };
    case "reopened":
      return { ...incident, status: "open", resolvedMs: null, acknowledgedMs: null, acknowledgedBy: null };
  }
}

function acknowledged(
  before: Incident,
  event: { atMs: number; actor: string | null },
): { acknowledgedMs: number; acknowledgedBy: string | null; status?: "acknowledged" } {
  const stamp = { acknowledgedMs: event.atMs, acknowledgedBy: event.actor };
  return before.status === "open" ? { ...stamp, status: "acknowledged" } : stamp;
}

function withImpact(impacts: readonly Impact[], impact: Impact): Impact[] {
  const same = (other: Impact): boolean => other.entity === impact.entity && other.objective === impact.objective;
  return impacts.some(same) ? impacts.map((other) => (same(other) ? impact : other)) : [...impacts, impact];
}

function withAnomalies(before: Incident["anomalies"], joined: Incident["anomalies"]): Incident["anomalies"] {
  const byId = new Map(before.map((anomaly) => [anomaly.id, anomaly]));
  for (const anomaly of joined) byId.set(anomaly.id, anomaly);
  return [...byId.values()].sort((left, right) => left.onsetMs - right.onsetMs || compareCodeUnits(left.id, right.id));
}

function withVerdict(before: Incident["verdicts"], verdict: Incident["verdicts"][number]): Incident["verdicts"] {
  const others = before.filter((other) => other.version !== verdict.version);
  return [...others, verdict].sort((left, right) => left.version - right.version);
}

/** The first line of page and report: the newest verdict's sentence, else who is hurt. */
export function incidentSentence(incident: Incident): string {
  const newest = incident.verdicts.at(-1);
  if (newest !== undefined && newest.result.sentence !== "") return newest.result.sentence;
  return impactSentence(worstImpact(incident));
}

/** Who is hurt most: the largest share of bad requests, then the most traffic, then by name. */
export function worstImpact(incident: Incident): Impact {
  const [worst] = [...incident.impacts].sort(
    (left, right) =>
      right.badRatio - left.badRatio ||
      right.requestsPerSecond - left.requestsPerSecond ||
      compareCodeUnits(`${left.entity} ${left.objective}`, `${right.entity} ${right.objective}`),
  );
  invariant(worst !== undefined, "an incident has an impact from its first event on");
  return worst;
}

/** "checkout: 12 % of requests failing". */
export function impactSentence(impact: Impact): string {
  const effect = impact.objective === "availability" ? "failing" : "too slow";
  if (impact.badRatio === 0) return `${impact.entity}: requests are ${effect}, says an alert`;
  return `${impact.entity}: ${percent(impact.badRatio)} of requests ${effect}`;
}

function percent(ratio: number): string {
  const share = ratio * 100;
  if (share > 0 && share < 1) return "less than 1 %";
  return `${Math.round(share)} %`;
}

function eventText(event: IncidentEvent): string {
  switch (event.type) {
    case "opened":
      return `Opened as ${event.severity} and paged: ${event.alert.summary || impactSentence(event.impact)}`;
    case "alert-joined":
      return `${event.alert.endsAtMs === null ? "Joined, without a page of its own" : "Ended"}: ${event.alert.summary || impactSentence(event.impact)}`;
    case "anomalies-joined":
      return anomaliesText(event.anomalies);
    case "impact-changed":
      return `Now ${event.severity}: ${impactSentence(event.impact)}`;
    case "verdict-added":
      return `Verdict ${event.verdict.version} (${reasonText(event.verdict.reason)}): ${event.verdict.result.sentence}`;
    case "acknowledged":
      return withNote(`Acknowledged by ${event.actor ?? "somebody"}`, event.note);
    case "recovered":
      return "Recovered: its objectives are met again";
    case "resolved":
      return withNote(event.by === "recovery" ? "Resolved itself after recovery" : `Resolved by ${event.actor ?? "somebody"}`, event.note);
    case "reopened":
      return `Reopened: ${event.reason}`;
  }
}

function reasonText(reason: string): string {
  return reason === "close" ? "at close" : `${reason.replace("onset+", "").replace(/s$/, " s")} after onset`;
}

function withNote(text: string, note: string | null): string {
  return note === null || note === "" ? text : `${text}: ${note}`;
}

const namedMax = 3;

function anomaliesText(anomalies: Incident["anomalies"]): string {
  const ended = anomalies.filter((anomaly) => anomaly.state === "close").length;
  const begun = anomalies.filter((anomaly) => anomaly.state !== "close");
  const entities = [...new Set(begun.map((anomaly) => anomaly.series.entity))].sort(compareCodeUnits);
  const named = entities.slice(0, namedMax).join(", ") + (entities.length > namedMax ? ` and ${entities.length - namedMax} more` : "");
  const parts = [
    ...(begun.length > 0 ? [`${count(begun.length, "anomaly", "anomalies")} joined (${named})`] : []),
    ...(ended > 0 ? [`${count(ended, "anomaly", "anomalies")} ended`] : []),
  ];
  return parts.join(", ") || "No anomaly joined";
}

function count(amount: number, one: string, many: string): string {
  return `${amount} ${amount === 1 ? one : many}`;
}
