/** Closed incidents as precedents, found again by the tokens of what was seen. */
import { compareCodeUnits, roundScore } from "../../contract/canonical.ts";
import type { Precedent } from "../../contract/port.ts";
import { jaccard, precedentTokens } from "../merge/precedent-tokens.ts";

export class PrecedentTable {
  #precedents = new Map<string, Precedent>();
  #precedentsMax: number;
  #onCounted: (name: string, amount: number) => void;

  /** Precedents kept at most; at the bound the one closed first is forgotten. */
  constructor(options: { precedentsMax: number; onCounted: (name: string, amount: number) => void }) {
    this.#precedentsMax = options.precedentsMax;
    this.#onCounted = options.onCounted;
  }

  /** Keeps a precedent; a second one of the same incident replaces the first. */
  merge(precedent: Precedent): void {
    this.#precedents.set(precedent.incident, { ...precedent, signature: precedentTokens(precedent.signature) });
    if (this.#precedents.size <= this.#precedentsMax) return;
    const [oldest] = [...this.#precedents.values()].sort(
      (left, right) => left.closedMs - right.closedMs || compareCodeUnits(left.incident, right.incident),
    );
    if (oldest !== undefined) this.#precedents.delete(oldest.incident);
    this.#onCounted("graph_precedents_forgotten", 1);
  }

  all(): IterableIterator<Precedent> {
    return this.#precedents.values();
  }

  /** By shared tokens over all tokens (Jaccard), best first, ties by incident; what shares nothing is left out. */
  similar(signature: readonly string[], countMax: number): { precedent: Precedent; similarity: number }[] {
    const asked = new Set(signature);
    const found: { precedent: Precedent; similarity: number }[] = [];
    for (const precedent of this.#precedents.values()) {
      let shared = 0;
      for (const token of precedent.signature) if (asked.has(token)) shared += 1;
      if (shared === 0) continue;
      const similarity = roundScore(jaccard({ shared, asked: asked.size, kept: precedent.signature.length }));
      found.push({ precedent, similarity });
    }
    found.sort((left, right) => right.similarity - left.similarity || compareCodeUnits(left.precedent.incident, right.precedent.incident));
    return found.slice(0, countMax);
  }
}
