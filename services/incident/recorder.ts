/**
 * Writes incident events to the event store. What a stream already holds is not written again, so that reading the log again after
 * a crash changes nothing; when a person acted in between, what they decided stands.
 */
import { canonicalJson } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { incidentStream, pagesAfter } from "../../contract/event-stream.ts";
import { type Incident, IncidentEvent } from "../../contract/incident.ts";
import { foldIncident } from "../../contract/incident-fold.ts";
import type { EventStore } from "../../contract/port.ts";

/** Times that somebody else may be faster before we give up and let the caller try again. */
const conflictsMax = 20;

export interface StoredIncident {
  /** Events in the stream, also those that this version cannot read. */
  readonly sequence: number;
  readonly events: readonly IncidentEvent[];
  /** Null while there is no such incident. */
  readonly incident: Incident | null;
}

/** Everything a stream holds. Events that their schema refuses are left out of the fold. */
export async function readIncident(events: EventStore, incident: string): Promise<StoredIncident> {
  const read: IncidentEvent[] = [];
  let sequence = 0;
  for await (const page of pagesAfter(events, incidentStream(incident), sequence)) {
    for (const event of page) {
      const parsed = IncidentEvent.safeParse(event.data);
      if (parsed.success) read.push(parsed.data);
      sequence = event.sequence;
    }
  }
  return { sequence, events: read, incident: foldIncident(incident, read) };
}

/**
 * Appends those of `drafted` that the stream does not hold and that still make sense, and answers the incident as it is then; with
 * `incident` null, nothing was written: only an opening begins a stream. Throws CONFLICT when others kept being faster, and what the store throws.
 */
export async function record(events: EventStore, incident: string, drafted: readonly IncidentEvent[]): Promise<StoredIncident> {
  for (let attempt = 1; ; attempt += 1) {
    const stored = await readIncident(events, incident);
    const missing = missingOf(stored, drafted);
    if (missing.length === 0) return stored;
    try {
      const sequence = await events.append(incidentStream(incident), missing, { expectedSequence: stored.sequence });
      const all = [...stored.events, ...missing];
      return { sequence, events: all, incident: foldIncident(incident, all) };
    } catch (error) {
      if (!(error instanceof HeadwaterError) || error.code !== "CONFLICT" || attempt >= conflictsMax) throw error;
    }
  }
}

function missingOf(stored: StoredIncident, drafted: readonly IncidentEvent[]): IncidentEvent[] {
  if (stored.incident === null && drafted[0]?.type !== "opened") return [];
  const held = new Set(stored.events.map(identityOf));
  const status = stored.incident?.status ?? null;
  return drafted.filter((event) => {
    if (held.has(identityOf(event))) return false;
    switch (event.type) {
      case "opened":
        return status === null;
      case "recovered":
      case "resolved":
        // A person was faster: it is resolved once.
        return status !== "resolved";
      case "verdict-added":
        return !stored.events.some((other) => other.type === "verdict-added" && isSameVerdict(other, event));
      default:
        return true;
    }
  });
}

type VerdictAdded = Extract<IncidentEvent, { type: "verdict-added" }>;

function isSameVerdict(left: VerdictAdded, right: VerdictAdded): boolean {
  return left.verdict.id === right.verdict.id || left.verdict.version === right.verdict.version;
}

function identityOf(event: IncidentEvent): string {
  if (event.type === "verdict-added") return `verdict ${event.verdict.id}`;
  return canonicalJson(event.type === "opened" ? { ...event, number: 0 } : event);
}
