/** Incidents, read from the event store. */
import { incidentOfStream, incidentPrefix } from "../../contract/event-stream.ts";
import { type Incident, IncidentEvent } from "../../contract/incident.ts";
import { foldIncident } from "../../contract/incident-fold.ts";
import type { EventStore } from "../../contract/port.ts";
import type { Verdict } from "../../contract/verdict.ts";

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
