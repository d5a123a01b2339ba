/** Incidents and their evidence, read from the event store. */
import { evidenceStream, incidentOfStream, incidentPrefix, incidentStream } from "../../contract/event-stream.ts";
import { EvidenceSnapshot } from "../../contract/evidence.ts";
import { type Incident, IncidentEvent } from "../../contract/incident.ts";
import { foldIncident } from "../../contract/incident-fold.ts";
import type { EventStore } from "../../contract/port.ts";
import type { Verdict } from "../../contract/verdict.ts";
import { renderReport } from "../../report/render-report.ts";

/** Every incident, oldest number first. */
export async function readIncidents(events: EventStore): Promise<Incident[]> {
  const incidents: Incident[] = [];
  for (const stream of await events.streams(incidentPrefix)) {
    const incident = foldIncident(incidentOfStream(stream), await eventsOf(events, stream));
    if (incident !== null) incidents.push(incident);
  }
  return incidents.sort((left, right) => left.number - right.number);
}

async function eventsOf(events: EventStore, stream: string): Promise<IncidentEvent[]> {
  return (await events.read(stream)).map((stored) => IncidentEvent.parse(stored.data));
}

/** The newest verdict that was asked for no later than `atMs`. */
export function verdictAskedBy(incident: Incident, atMs: number): Verdict | null {
  const asked = incident.verdicts.filter((verdict) => verdict.askedForMs <= atMs);
  return asked.sort((left, right) => left.askedForMs - right.askedForMs || left.version - right.version).at(-1) ?? null;
}

/** The sealed snapshot behind a verdict, or null when it is not there. */
export async function readSnapshot(events: EventStore, verdict: Verdict): Promise<EvidenceSnapshot | null> {
  const stored = await events.read(evidenceStream(verdict.snapshotHash));
  return stored[0] === undefined ? null : EvidenceSnapshot.parse(stored[0].data);
}

/** The report of an incident as it is now. */
export async function reportOf(events: EventStore, incident: Incident): Promise<ReturnType<typeof renderReport>> {
  const verdict = incident.verdicts.at(-1);
  const snapshot = verdict === undefined ? null : await readSnapshot(events, verdict);
  const stream = incidentStream(incident.id);
  return renderReport({ incident, snapshot, events: await eventsOf(events, stream), generatedFrom: stream });
}
