import { describe, expect, test } from "vitest";
import { bootstrapMean, rankTruth, type ScoredCandidate, summariseRanks, wilson } from "../../../graph/case/score.ts";

const candidate = (id: string, score: number): ScoredCandidate => ({ type: "entity", id, score, kind: null });
const itself = (id: string): string => id;

describe("rankTruth", () => {
  test("counts the printed place, and every candidate with as good a score", () => {
    const ranking = [candidate("a", 3), candidate("b", 2), candidate("c", 2), candidate("d", 1)];
    expect(rankTruth(ranking, [{ type: "entity", id: "b", kind: null }], itself)).toEqual({ rankStrict: 2, rankPessimistic: 3, hit: 0 });
    expect(rankTruth(ranking, [{ type: "entity", id: "a", kind: null }], itself)).toEqual({ rankStrict: 1, rankPessimistic: 1, hit: 1 });
  });

  test("puts an answer that is not in the list behind its end", () => {
    expect(rankTruth([candidate("a", 1)], [{ type: "entity", id: "z", kind: null }], itself)).toEqual({
      rankStrict: 2,
      rankPessimistic: 2,
      hit: 0,
    });
    expect(rankTruth([], [{ type: "entity", id: "z", kind: null }], itself).hit).toBe(0);
  });

  test("takes the first of several acceptable answers and tells types apart", () => {
    const ranking: ScoredCandidate[] = [candidate("x", 2), { type: "dependency", id: "a>b", score: 1, kind: null }];
    const truth = [
      { type: "entity", id: "a>b", kind: null },
      { type: "dependency", id: "a>b", kind: null },
    ] as const;
    expect(rankTruth(ranking, truth, itself).rankStrict).toBe(2);
  });

  test("folds instances into their service before it counts", () => {
    const fold = (id: string): string => id.split("#")[0] ?? id;
    const ranking = [candidate("a#1", 5), candidate("a#2", 4), candidate("b#1", 3)];
    expect(rankTruth(ranking, [{ type: "entity", id: "b", kind: null }], fold)).toEqual({ rankStrict: 2, rankPessimistic: 2, hit: 0 });
  });
});

describe("figures", () => {
  test("carry Wilson's interval", () => {
    const { value, lower, upper } = wilson(8, 10);
    expect(value).toBe(0.8);
    expect(lower).toBeCloseTo(0.4902, 3);
    expect(upper).toBeCloseTo(0.9433, 3);
    expect(wilson(0, 0)).toEqual({ value: 0, lower: 0, upper: 1 });
  });

  test("are the same in every run although cases are resampled", () => {
    const values = [1, 0.5, 0.2, 1, 1, 0];
    expect(bootstrapMean(values)).toEqual(bootstrapMean(values));
    expect(bootstrapMean(values).lower).toBeLessThan(bootstrapMean(values).value);
  });

  test("average the first five places", () => {
    const summary = summariseRanks([1, 2, 6]);
    expect(summary.averageAt5.value).toBeCloseTo((1 + 0.8 + 0) / 3);
    expect(summary.reciprocal.value).toBeCloseTo((1 + 0.5 + 1 / 6) / 3);
    expect(summary.top3.value).toBeCloseTo(2 / 3);
  });
});
