/** A host as the common cause: most of what runs on it deviates by itself, and most of what runs elsewhere does not. */
import type { SnapshotEntity } from "../contract/evidence.ts";
import { amountOf, type Contribution } from "./contribution.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { median, sumSorted } from "./robust-statistics.ts";

/** A host with fewer entities has nothing in common to explain. */
const membersMin = 2;
const insideMin = 0.75;
const outsideMax = 0.25;
/** Internal strength from which an entity counts as deviating by itself. */
const strengthMin = 0.15;

/** Adds what the members of a host have in common to the host, where the snapshot knows the host as an entity. */
export function hostContributions(neighbourhood: Neighbourhood, evidence: ReadonlyMap<string, readonly Contribution[]>): Contribution[] {
  const members = new Map<string, SnapshotEntity[]>();
  for (const entity of neighbourhood.entities) {
    if (entity.host === null || entity.type === "host") continue;
    const host = neighbourhood.fold(entity.host);
    if (neighbourhood.entityOf(host)?.type !== "host") continue;
    const list = members.get(host);
    if (list === undefined) members.set(host, [entity]);
    else list.push(entity);
  }
  const own = (entity: SnapshotEntity): readonly Contribution[] => evidence.get(`entity\n${entity.id}`) ?? [];
  const deviates = (entity: SnapshotEntity): boolean =>
    amountOf(own(entity), "internal") >= strengthMin || amountOf(own(entity), "latency") > 0;
  const placed = [...members.values()].flat();
  const deviating = placed.filter(deviates).length;
  return [...members].flatMap(([host, inside]) => {
    const hit = inside.filter(deviates);
    const outside = placed.length - inside.length;
    const outsideShare = outside === 0 ? 0 : (deviating - hit.length) / outside;
    if (hit.length < membersMin || hit.length / inside.length < insideMin || outsideShare > outsideMax) return [];
    return (["internal", "latency"] as const).flatMap((channel): Contribution[] => {
      const amounts = inside.map((entity) => amountOf(own(entity), channel));
      // Where nothing runs elsewhere, one entity in trouble and those it drags along look like a host in trouble, but for the share of each.
      const amount = outside === 0 ? hit.length * median(amounts) : sumSorted(hit.map((entity) => amountOf(own(entity), channel)));
      if (amount === 0) return [];
      const evidenceIds = hit.flatMap((entity) =>
        own(entity)
          .filter((item) => item.channel === channel)
          .flatMap((item) => item.evidence),
      );
      return [
        {
          type: "entity",
          id: host,
          channel,
          amount,
          text: `${hit.length} of the ${inside.length} entities on this host deviate together, ${deviating - hit.length} of ${outside} elsewhere`,
          evidence: evidenceIds.slice(0, 50),
          onsetMs: null,
          kind: "noisy-neighbour",
        },
      ];
    });
  });
}
