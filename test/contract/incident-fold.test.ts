import { expect, test } from "vitest";
import { Incident, type IncidentEvent } from "../../contract/incident.ts";
import { foldIncident, incidentSentence, worstImpact } from "../../contract/incident-fold.ts";
import { aRankResult } from "../conformance/sample-messages.ts";

const base = { atMs: 1_000, actor: null };
const alert = { id: "a1", entity: "checkout", objective: "availability", startsAtMs: 500, endsAtMs: null, summary: "" };
const impact = { entity: "checkout", objective: "availability" as const, badRatio: 0.12, requestsPerSecond: 40 };
const opened: IncidentEvent = { type: "opened", ...base, number: 3, onsetMs: 500, severity: "P2", alert, impact };

function verdictAdded(version: number, sentence: string): IncidentEvent {
  const result = aRankResult(sentence);
  const verdict = { id: `v${version}`, incident: "i", version, askedForMs: 2_000, reason: "onset+15s" as const, snapshotHash: "h", result };
  return { type: "verdict-added", ...base, verdict, operational: { rankedInMs: 1, gatheredInMs: 1, answeredAtMs: 1 } };
}

test("a stream that does not begin with an opening is no incident", () => {
  expect(foldIncident("i", [])).toBeNull();
  expect(foldIncident("i", [{ type: "recovered", ...base }])).toBeNull();
});

test("an opening gives an open incident that its schema accepts, with who is hurt as its sentence", () => {
  const incident = foldIncident("i", [opened]);
  expect(Incident.parse(incident)).toEqual(incident);
  expect(incident).toMatchObject({ status: "open", number: 3, severity: "P2", onsetMs: 500, openedMs: 1_000, sequence: 1 });
  expect(incident !== null && incidentSentence(incident)).toBe("checkout: 12 % of requests failing");
  expect(incident?.timeline[0]?.text).toContain("Opened as P2 and paged");
});

test("acknowledging, recovering and resolving move the state on, and reopening brings it back unacknowledged", () => {
  const events: IncidentEvent[] = [opened, { type: "acknowledged", atMs: 2_000, actor: "ada", note: "looking" }];
  expect(foldIncident("i", events)).toMatchObject({ status: "acknowledged", acknowledgedBy: "ada", acknowledgedMs: 2_000 });
  events.push({ type: "recovered", atMs: 3_000, actor: null });
  expect(foldIncident("i", events)?.status).toBe("mitigated");
  events.push({ type: "resolved", atMs: 3_000, actor: null, by: "recovery", note: null });
  expect(foldIncident("i", events)).toMatchObject({ status: "resolved", resolvedMs: 3_000 });
  events.push({ type: "acknowledged", atMs: 3_500, actor: "bob", note: null });
  expect(foldIncident("i", events)?.status).toBe("resolved");
  events.push({ type: "reopened", atMs: 4_000, actor: null, reason: "again" });
  expect(foldIncident("i", events)).toMatchObject({ status: "open", resolvedMs: null, acknowledgedMs: null, sequence: 6 });
  expect(foldIncident("i", events)?.timeline.map((entry) => entry.text)).toEqual([
    "Opened as P2 and paged: checkout: 12 % of requests failing",
    "Acknowledged by ada: looking",
    "Recovered: its objectives are met again",
    "Resolved itself after recovery",
    "Acknowledged by bob",
    "Reopened: again",
  ]);
});

test("anomalies keep their newest state, by onset", () => {
  const anomaly = {
    id: "x",
    series: { entity: "payment", metric: "m", statistic: "value" as const, attributes: "" },
    kind: "cpu" as const,
    state: "open" as const,
    direction: "up" as const,
    onsetMs: 400,
    atMs: 900,
    endMs: null,
    severity: 7,
    value: 1,
    lower: null,
    upper: null,
  };
  const earlier = { ...anomaly, id: "y", onsetMs: 300 };
  const incident = foldIncident("i", [
    opened,
    { type: "anomalies-joined", ...base, anomalies: [anomaly, earlier] },
    { type: "anomalies-joined", ...base, anomalies: [{ ...anomaly, state: "close", endMs: 950 }] },
  ]);
  expect(incident?.anomalies.map(({ id, state }) => [id, state])).toEqual([
    ["y", "open"],
    ["x", "close"],
  ]);
  expect(incident?.timeline.map(({ text }) => text).slice(1)).toEqual(["2 anomalies joined (payment)", "1 anomaly ended"]);
});

test("the newest verdict by version gives the sentence, however they arrive", () => {
  const incident = foldIncident("i", [opened, verdictAdded(2, "payment broke"), verdictAdded(1, "cart broke")]);
  expect(incident?.verdicts.map(({ version }) => version)).toEqual([1, 2]);
  expect(incident !== null && incidentSentence(incident)).toBe("payment broke");
});

test("an impact is replaced per entity and objective, and the worst one is named", () => {
  const worse = { ...impact, badRatio: 0.6 };
  const other = { ...impact, entity: "search", objective: "latency" as const, badRatio: 0.9 };
  const incident = foldIncident("i", [
    opened,
    { type: "impact-changed", ...base, severity: "P1", impact: worse },
    { type: "alert-joined", ...base, alert: { ...alert, id: "a2", entity: "search" }, impact: other },
  ]);
  expect(incident?.impacts).toEqual([worse, other]);
  expect(incident?.alerts.map(({ id }) => id)).toEqual(["a1", "a2"]);
  expect(incident?.severity).toBe("P1");
  expect(incident !== null && worstImpact(incident)).toEqual(other);
});
