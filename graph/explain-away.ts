/** What lies below explains what is seen above: the strongest candidate among everything an entity calls, near or far. */
import { sortedBy } from "../contract/canonical.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

export interface Below {
  readonly score: number;
  readonly entity: string;
}

/**
 * For each entity the strongest of the entities it depends on, directly or through others, itself left out.
 * Cycles are allowed. Each entity is visited twice at most, so that it takes time in proportion to the graph.
 */
export function strongestBelow(scores: ReadonlyMap<string, number>, neighbourhood: Neighbourhood): Map<string, Below> {
  const strongest = new Map<string, Below>();
  const scored = sortedBy([...scores], ([id]) => id)
    .filter(([, score]) => score > 0)
    .sort((left, right) => right[1] - left[1]);
  for (const [source, score] of scored) {
    const queue = [source];
    for (let entity = queue.pop(); entity !== undefined; entity = queue.pop()) {
      for (const caller of neighbourhood.callers(entity)) {
        if (strongest.has(caller) || caller === source) continue;
        strongest.set(caller, { score, entity: source });
        queue.push(caller);
      }
    }
  }
  return strongest;
}

/** 0..1: how much of an entity's own score the strongest below it may account for. */
export function explainedShare(own: number, below: Below | undefined): number {
  if (below === undefined || below.score <= 0) return 0;
  return below.score / (below.score + own);
}
