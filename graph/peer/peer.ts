/** What a yardstick answers: candidates in printed order. Peers see the same snapshot as the ranker and never the truth. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { ScoredCandidate } from "../case/score.ts";

export type Peer = (snapshot: EvidenceSnapshot) => ScoredCandidate[];

/** Best first; equal scores by type and id. */
export function printedOrder(candidates: readonly ScoredCandidate[]): ScoredCandidate[] {
  return [...candidates].sort(
    (left, right) => right.score - left.score || compareCodeUnits(left.type, right.type) || compareCodeUnits(left.id, right.id),
  );
}

/** Every entity of the snapshot with its score, 0 for those without one. */
export function entitiesScored(snapshot: EvidenceSnapshot, scores: ReadonlyMap<string, number>): ScoredCandidate[] {
  const ids = new Set([...snapshot.entities.map((entity) => entity.id), ...scores.keys()]);
  return printedOrder([...ids].map((id) => ({ type: "entity", id, score: scores.get(id) ?? 0, kind: null })));
}
