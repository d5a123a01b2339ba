/** The evidence behind a verdict, from its own stream of the event store. */
import { evidenceStream } from "../../contract/event-stream.ts";
import { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { Incident } from "../../contract/incident.ts";
import type { EventStore } from "../../contract/port.ts";

/** The snapshot of the newest verdict, or null while there is no verdict or its snapshot cannot be read. */
export async function readSnapshot(events: EventStore, incident: Incident): Promise<EvidenceSnapshot | null> {
  const verdict = incident.verdicts.at(-1);
  if (verdict === undefined) return null;
  const [stored] = await events.read(evidenceStream(verdict.snapshotHash), { eventsMax: 1 });
  const parsed = EvidenceSnapshot.safeParse(stored?.data);
  return parsed.success ? parsed.data : null;
}
