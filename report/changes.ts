/** What changed before and during an incident, with its place in the ranking. */
import type { Change } from "../contract/change.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { RankedCandidate } from "../contract/verdict.ts";

/** Newest changes shown. */
const changesMax = 20;

export interface ReportChange extends Change {
  /** Its place in the ranking, or null when it explains nothing. */
  readonly rank: number | null;
}

export function changesOf(snapshot: EvidenceSnapshot | null, ranking: readonly RankedCandidate[]): ReportChange[] {
  const ranks = new Map<string, number>();
  for (const [index, candidate] of ranking.entries()) {
    if (candidate.type === "change" && candidate.score > 0) ranks.set(candidate.id, index + 1);
  }
  return (snapshot?.changes ?? []).slice(-changesMax).map((change) => ({ ...change, rank: ranks.get(change.id) ?? null }));
}
