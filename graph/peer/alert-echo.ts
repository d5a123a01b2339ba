/** Yardstick: blames whoever raised the alert. */
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { ScoredCandidate } from "../case/score.ts";
import { entitiesScored } from "./peer.ts";

export function alertEcho(snapshot: EvidenceSnapshot): ScoredCandidate[] {
  return entitiesScored(snapshot, new Map(snapshot.symptoms.map((symptom) => [symptom.entity, 1])));
}
