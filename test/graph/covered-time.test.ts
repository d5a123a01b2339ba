import fc from "fast-check";
import { expect, it } from "vitest";
import { coveredTime, type Stretch } from "../../graph/covered-time.ts";

it("counts the time of parallel calls once", () => {
  const calls = [
    { from: 10, to: 60 },
    { from: 10, to: 60 },
    { from: 20, to: 30 },
    { from: 50, to: 70 },
  ];
  expect(coveredTime({ from: 0, to: 100 }, calls)).toBe(60);
});

it("is the number of moments in the whole at which something is under way, whatever the order of the parts", () => {
  const stretch = fc.tuple(fc.integer({ min: -20, max: 60 }), fc.integer({ min: 0, max: 30 })).map(([from, length]): Stretch => {
    return { from, to: from + length };
  });
  fc.assert(
    fc.property(stretch, fc.array(stretch, { maxLength: 8 }), (whole, parts) => {
      const moments = Array.from({ length: whole.to - whole.from }, (_, index) => whole.from + index);
      const covered = moments.filter((moment) => parts.some(({ from, to }) => moment >= from && moment < to));
      expect(coveredTime(whole, parts)).toBe(covered.length);
    }),
  );
});
