/** What a replay leaves behind, and the part of it that is compared. */
import { canonicalJson } from "../../contract/canonical.ts";
import { evidenceStream } from "../../contract/event-stream.ts";
import { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { EventStore } from "../../contract/port.ts";
import type { RankResult } from "../../contract/verdict.ts";
import { readIncidents } from "../../services/command/incident-reader.ts";

export interface Replayed {
  /** Everything of the incidents that is hashed: all but wall times. */
  readonly bytes: string;
  /** Each verdict's result with the snapshot that was sealed for it. */
  readonly sealed: readonly { readonly snapshot: EvidenceSnapshot; readonly result: RankResult }[];
}

export async function replayedIn(events: EventStore): Promise<Replayed> {
  const incidents = await readIncidents(events);
  const bytes = canonicalJson(incidents.map(({ id, onsetMs, alerts, verdicts }) => ({ id, onsetMs, alerts, verdicts })));
  const sealed: { snapshot: EvidenceSnapshot; result: RankResult }[] = [];
  for (const verdict of incidents.flatMap((incident) => incident.verdicts)) {
    const [stored] = await events.read(evidenceStream(verdict.snapshotHash));
    if (stored === undefined) throw new Error(`no snapshot was sealed for verdict ${verdict.id}`);
    sealed.push({ snapshot: EvidenceSnapshot.parse(stored.data), result: verdict.result });
  }
  return { bytes, sealed };
}
