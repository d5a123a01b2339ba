/** Yardstick: blames the newest change before the end of the fault, then the one before it, and so on. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { ScoredCandidate } from "../case/score.ts";
import { entitiesScored, printedOrder } from "./peer.ts";

/** Changes and the entities they changed, newest first; entities without one share the last place. */
export function latestChange(snapshot: EvidenceSnapshot): ScoredCandidate[] {
  const known = snapshot.changes
    .filter((change) => change.atMs <= snapshot.fault.toMs)
    .sort((left, right) => right.atMs - left.atMs || compareCodeUnits(left.id, right.id));
  const scores = new Map<string, number>();
  const changes = known.map((change, index): ScoredCandidate => {
    const score = 1 / (index + 1);
    if (!scores.has(change.entity)) scores.set(change.entity, score);
    return { type: "change", id: change.id, score, kind: null };
  });
  return printedOrder([...changes, ...entitiesScored(snapshot, scores)]);
}
