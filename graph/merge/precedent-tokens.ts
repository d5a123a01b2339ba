/** What a precedent is found by. */
import { compareCodeUnits } from "../../contract/canonical.ts";

const tokensMax = 200;

/** The tokens of a precedent as they are kept: each once, sorted, bounded. */
export function precedentTokens(signature: readonly string[]): string[] {
  return [...new Set(signature)].sort(compareCodeUnits).slice(0, tokensMax);
}

/** Shared tokens over all tokens (Jaccard), before rounding. */
export function jaccard(of: { shared: number; asked: number; kept: number }): number {
  return of.shared / (of.asked + of.kept - of.shared);
}
