/** What is said for and against a candidate, each statement with the evidence it rests on. */
import { compareCodeUnits, roundScore } from "../contract/canonical.ts";
import type { Claim } from "../contract/verdict.ts";
import type { Contribution } from "./contribution.ts";
import { numberText, percentText, secondsText } from "./wording.ts";

const claimsMax = 20;
const evidenceMax = 50;
const textMax = 1_000;

/** A claim within the contract's bounds. */
export function claimOf(options: {
  text: string;
  stance: Claim["stance"];
  weight: number;
  evidence: readonly string[];
  onsetMs: number | null;
  source?: Claim["source"];
}): Claim {
  return {
    text: options.text.length > textMax ? `${options.text.slice(0, textMax - 1)}…` : options.text,
    stance: options.stance,
    weight: roundScore(options.weight),
    evidence: [...new Set(options.evidence)].slice(0, evidenceMax),
    onsetMs: options.onsetMs,
    ...(options.source === undefined ? {} : { source: options.source }),
  };
}

/** Claims for a candidate, the one that moved its score most first. */
export function claimsFor(
  contributions: readonly Contribution[],
  of: { weightOf: (contribution: Contribution) => number; sourceOf: (evidence: readonly string[]) => Claim["source"] },
): Claim[] {
  return contributions.map((item) => {
    const { text, evidence, onsetMs } = item;
    return claimOf({ text, stance: "for", weight: of.weightOf(item), evidence, onsetMs, source: of.sourceOf(evidence) });
  });
}

/** Sorted by weight, then text, and cut to what a candidate may carry; those against always stay. */
export function arranged(claims: readonly Claim[]): Claim[] {
  const order = (left: Claim, right: Claim): number => right.weight - left.weight || compareCodeUnits(left.text, right.text);
  const against = claims
    .filter((claim) => claim.stance === "against")
    .sort(order)
    .slice(0, 5);
  const support = claims
    .filter((claim) => claim.stance === "for")
    .sort(order)
    .slice(0, claimsMax - against.length);
  return [...support, ...against];
}

/** Counter-evidence of an entity: what below it explains it, and what of its own stayed normal. */
export function claimsAgainst(options: {
  explained: number;
  explainedBy: string | null;
  relevance: number;
  quietInternal: readonly string[];
  laterByMs: number | null;
}): Claim[] {
  const claims: Claim[] = [];
  const against = (text: string, weight: number, evidence: readonly string[] = []): void => {
    claims.push(claimOf({ text, stance: "against", weight, evidence, onsetMs: null }));
  };
  if (options.explainedBy !== null && options.explained >= 0.25) {
    against(
      `${options.explainedBy}, on which it depends, explains ${percentText(options.explained)} of what is seen here`,
      options.explained,
    );
  }
  if (options.relevance < 1) against("no symptom is known to depend on it", 1 - options.relevance);
  if (options.quietInternal.length > 0) {
    const count = options.quietInternal.length;
    against(`${numberText(count)} of its internal series stayed normal`, 0.1, [...options.quietInternal].sort(compareCodeUnits));
  }
  if (options.laterByMs !== null && options.laterByMs > 0) {
    against(`its trouble began ${secondsText(options.laterByMs / 1_000)} after the first one`, 0.2);
  }
  return claims;
}
