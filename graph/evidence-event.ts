/** Events that somebody else already extracted: the fewer entities show the same, the more one says. Channel `events`. */
import type { EvidenceSnapshot, SnapshotEvent } from "../contract/evidence.ts";
import type { Contribution } from "./contribution.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

/** What a call that failed or was slow says about the one who made it. */
const callerShare = 0.4;
/** Events of the same name at the same entity add less and less. */
const repeatShare = 0.5;

/** Evidence from events; repeated ones count half, a quarter and so on. */
export function eventContributions(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): Contribution[] {
  const spread = new Map<string, Set<string>>();
  for (const event of snapshot.events) {
    const entities = spread.get(nameKey(event)) ?? new Set<string>();
    entities.add(neighbourhood.fold(event.target ?? event.entity));
    spread.set(nameKey(event), entities);
  }
  const seen = new Map<string, number>();
  return snapshot.events.flatMap((event) => {
    const blamed = neighbourhood.fold(event.target ?? event.entity);
    const key = JSON.stringify([blamed, nameKey(event)]);
    const weight = seen.get(key) ?? 1;
    seen.set(key, weight * repeatShare);
    if (weight < 0.05) return [];
    const amount = weight / (spread.get(nameKey(event))?.size ?? 1);
    const own = contributionOf(event, blamed, amount);
    if (event.target === null) return [own];
    return [own, contributionOf(event, neighbourhood.fold(event.entity), amount * callerShare)];
  });
}

function nameKey(event: SnapshotEvent): string {
  return JSON.stringify([event.modality, event.name, event.direction]);
}

function contributionOf(event: SnapshotEvent, entity: string, amount: number): Contribution {
  const direction = event.direction === "" ? "" : ` ${event.direction}`;
  return {
    type: "entity",
    id: entity,
    channel: "events",
    amount,
    text: `${event.modality} event ${event.name}${direction}${event.target === null ? "" : ` towards ${event.target}`}`,
    evidence: [event.id],
    onsetMs: null,
    kind: null,
  };
}
