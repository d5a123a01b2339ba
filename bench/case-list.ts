/** What a loader hands to the ranking benchmark: cases one after another, so that only one is in memory. */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { TruthItem } from "../graph/case/score.ts";

export interface BenchCase {
  readonly id: string;
  readonly system: string;
  readonly faultType: string;
  readonly snapshot: EvidenceSnapshot;
  readonly truth: readonly TruthItem[];
}

export type Split = "train" | "test" | "all";

/** Reads the cases of a data set in order of their ids. Throws CASE_INVALID for data it cannot read. */
export type CaseLoader = (options: { directory: string; split: Split }) => AsyncIterable<BenchCase>;
