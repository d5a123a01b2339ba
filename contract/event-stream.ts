/** The streams of the event store: their names, which one stage writes and others read, and how one is read to its end. */
import type { EventStore, StoredEvent } from "./port.ts";

/** Every recorded change, as `ChangeEvent`. */
export const changeStream = "change";
/** Begins the name of every incident's stream. */
export const incidentPrefix = "incident/";

const eventsPerReadMax = 1_000;

/** The `IncidentEvent`s of one incident. */
export function incidentStream(incident: string): string {
  return `${incidentPrefix}${incident}`;
}

/** The incident whose stream this is. */
export function incidentOfStream(stream: string): string {
  return stream.slice(incidentPrefix.length);
}

/** The one `EvidenceSnapshot` whose content has this hash. */
export function evidenceStream(snapshotHash: string): string {
  return `evidence/${snapshotHash}`;
}

/** The events of a stream after a sequence (0 = all), in order, in pages of at most 1,000. */
export async function* pagesAfter(events: EventStore, stream: string, afterSequence: number): AsyncGenerator<StoredEvent[]> {
  let after = afterSequence;
  for (;;) {
    const page = await events.read(stream, { afterSequence: after, eventsMax: eventsPerReadMax });
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < eventsPerReadMax) return;
    after = last.sequence;
  }
}
