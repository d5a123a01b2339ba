import { describe, expect, it } from "vitest";
import { Stretch, type StretchInput } from "../../models/stretch.ts";

function at(window: number, score: number, more: Partial<StretchInput> = {}): StretchInput {
  const span = { startMs: window * 1_000, endMs: window * 1_000 + 1_000 };
  return { ...span, score, direction: score === 0 ? "within" : "up", value: score * 10, lower: 0, upper: 5, extreme: "yes", ...more };
}

const states = (stretch: Stretch, inputs: readonly StretchInput[]) => inputs.map((input) => stretch.observe(input)?.state ?? null);

describe("Stretch", () => {
  it("opens at two of three windows outside, with the onset at the first of them", () => {
    const stretch = new Stretch();
    expect(states(stretch, [at(0, 3), at(1, 0), at(2, 3.2)])).toEqual([null, null, "open"]);
    expect(stretch.open).toMatchObject({ onsetMs: 0, severity: 3.2, value: 32, direction: "up" });
  });

  it("opens neither at two windows too far apart nor at two to different sides", () => {
    expect(states(new Stretch(), [at(0, 3), at(1, 0), at(2, 0), at(3, 3)])).toEqual([null, null, null, null]);
    expect(states(new Stretch(), [at(0, 3), at(1, 3, { direction: "down" })])).toEqual([null, null]);
  });

  it("opens at one extreme window unless its statistic is one of single requests", () => {
    expect(states(new Stretch(), [at(0, 5)])).toEqual(["open"]);
    expect(states(new Stretch(), [at(0, 5, { extreme: "no" })])).toEqual([null]);
  });

  it("is told again when it gets worse by one, else every five windows, and closes after five quiet ones", () => {
    const stretch = new Stretch();
    const told = states(stretch, [at(0, 5), at(1, 5.5), at(2, 6.1), at(3, 6), at(4, 6), at(5, 6), at(6, 6), at(7, 6)]);
    expect(told).toEqual(["open", null, "update", null, null, null, null, "update"]);
    const quiet = states(stretch, [at(8, 0), at(9, 0), at(10, 0), at(11, 0)]);
    expect(quiet).toEqual([null, null, null, null]);
    const closed = stretch.observe(at(12, 0));
    expect(closed).toMatchObject({ state: "close", stretch: { lastOutsideMs: 8_000, severity: 6.1 } });
    expect(stretch.open).toBeNull();
  });

  it("goes on after being written and read as if nothing had happened", () => {
    const inputs = [at(0, 3), at(1, 3), at(2, 0), at(3, 4.2), at(4, 0), at(5, 0), at(6, 0), at(7, 0), at(8, 0), at(9, 3)];
    const whole = states(new Stretch(), inputs);
    let stretch = new Stretch();
    const pieces = inputs.map((input) => {
      stretch = Stretch.fromJSON(JSON.parse(JSON.stringify(stretch)));
      return stretch.observe(input)?.state ?? null;
    });
    expect(pieces).toEqual(whole);
    expect(whole).toContain("close");
  });
});
