/** The yardsticks that every run of the ranking benchmark measures beside the ranker. */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import { type RankedTruth, rankTruth, type TruthItem } from "../graph/case/score.ts";
import { alertEcho } from "../graph/peer/alert-echo.ts";
import { graphTraversal } from "../graph/peer/graph-traversal.ts";
import { highestZ } from "../graph/peer/highest-z.ts";
import { latestChange } from "../graph/peer/latest-change.ts";
import type { Peer } from "../graph/peer/peer.ts";

export const peers: readonly { readonly name: string; readonly rank: Peer }[] = [
  { name: "highest Z", rank: highestZ },
  { name: "graph traversal", rank: graphTraversal },
  { name: "latest change", rank: latestChange },
  { name: "echo of the alert", rank: alertEcho },
];

/** What guessing is worth on one case, exactly: the chance of each place of the first acceptable answer. */
export interface RandomChance {
  /** Chance that the first acceptable answer stands at place k + 1. */
  readonly placeChances: readonly number[];
}

/** Entities in random order; `fold` as in scoring. Entities are all that guessing may name. */
export function randomChance(snapshot: EvidenceSnapshot, truth: readonly TruthItem[], fold: (id: string) => string): RandomChance {
  const ids = new Set(snapshot.entities.map((entity) => fold(entity.id)));
  const accepted = new Set(truth.filter((item) => item.type === "entity").map((item) => fold(item.id)));
  const right = [...accepted].filter((id) => ids.has(id)).length;
  const chances: number[] = [];
  let missed = 1;
  for (let place = 0; place < ids.size && right > 0 && missed > 0; place += 1) {
    const here = Math.min(1, right / (ids.size - place));
    chances.push(missed * here);
    missed *= 1 - here;
  }
  return { placeChances: chances };
}

/** Rank of a peer's answer on a case. */
export function rankOfPeer(peer: Peer, snapshot: EvidenceSnapshot, truth: readonly TruthItem[], fold: (id: string) => string): RankedTruth {
  return rankTruth(peer(snapshot), truth, fold);
}
