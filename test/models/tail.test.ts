import { describe, expect, it } from "vitest";
import { deviationOfScore, scoreOfDeviation } from "../../models/tail.ts";

describe("scoreOfDeviation", () => {
  it("agrees with the tabulated two-sided tail of Student's t with 4 degrees of freedom", () => {
    expect(scoreOfDeviation(2.776)).toBeCloseTo(-Math.log10(0.05), 3);
    expect(scoreOfDeviation(4.604)).toBeCloseTo(-Math.log10(0.01), 3);
    expect(scoreOfDeviation(8.61)).toBeCloseTo(-Math.log10(0.001), 3);
  });

  it("rises with the deviation, without steps, from 0 to far out", () => {
    let before = -1;
    for (let deviation = 0; deviation < 1e6; deviation = deviation * 1.1 + 0.01) {
      const score = scoreOfDeviation(deviation);
      expect(score).toBeGreaterThan(before);
      before = score;
    }
    expect(scoreOfDeviation(0)).toBeCloseTo(0, 12);
    expect(scoreOfDeviation(1e6)).toBeCloseTo(23.2, 1);
    expect(Number.isFinite(scoreOfDeviation(Number.MAX_VALUE))).toBe(true);
  });

  it("is undone by deviationOfScore", () => {
    for (const score of [0.5, 1, 2.5, 4.5, 9]) expect(scoreOfDeviation(deviationOfScore(score))).toBeCloseTo(score, 9);
  });
});
