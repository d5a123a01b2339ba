import { describe, expect, it } from "vitest";
import { bandScore, RobustBaseline } from "../../models/robust-baseline.ts";

const noFloor = { absolute: 0, relative: 0.02 };

/** Uniform in [0, 1), the same in every run. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

/** Roughly normal: the sum of twelve uniforms. */
function normal(random: () => number): number {
  let sum = -6;
  for (let index = 0; index < 12; index += 1) sum += random();
  return sum;
}

function taught(values: readonly number[], floor = noFloor): RobustBaseline {
  const baseline = new RobustBaseline(floor);
  for (const value of values) baseline.learn(value);
  return baseline;
}

const many = (count: number, value: (index: number) => number) => Array.from({ length: count }, (_, index) => value(index));

describe("RobustBaseline", () => {
  it("says nothing until it has learned 30 values", () => {
    const baseline = taught(many(29, () => 5));
    expect(baseline.state).toBe("learning");
    expect(baseline.windowsToLearn).toBe(1);
    expect(baseline.judge(1e9, 0)).toEqual({ score: null, direction: "within", lower: null, upper: null });
    baseline.learn(5);
    expect(baseline.state).toBe("tracked");
    expect(baseline.judge(1e9, 0).score).toBeGreaterThan(4.5);
  });

  it("scores exactly what lies outside its band at or above the band's score", () => {
    const random = uniform(1);
    const baseline = taught(many(200, () => 100 + 5 * normal(random)));
    const { lower, upper } = baseline.judge(100, 0);
    expect(baseline.judge((upper ?? 0) - 0.01, 0).score).toBeLessThan(bandScore);
    expect(baseline.judge((upper ?? 0) + 0.01, 0).score).toBeGreaterThan(bandScore);
    expect(baseline.judge((lower ?? 0) - 0.01, 0)).toMatchObject({ direction: "down" });
    expect(baseline.judge((lower ?? 0) - 0.01, 0).score).toBeGreaterThan(bandScore);
  });

  it("alarms on fewer than one in 3,000 values of quiet noise, and always on a fivefold level", () => {
    const random = uniform(2);
    const baseline = new RobustBaseline(noFloor);
    let outside = 0;
    for (let index = 0; index < 20_000; index += 1) {
      const value = 50 + 4 * normal(random);
      if ((baseline.judge(value, 0).score ?? 0) >= bandScore) outside += 1;
      baseline.learn(value);
    }
    expect(outside).toBeLessThan(7);
    expect(baseline.judge(250, 0)).toMatchObject({ direction: "up" });
    expect(baseline.judge(250, 0).score).toBeGreaterThan(4);
  });

  it("does not alarm on small moves of a constant, of counts of a few, or of an idle series with a floor", () => {
    expect(taught(many(300, () => 1000)).judge(1015, 0).score).toBeLessThan(bandScore);
    expect(taught(many(300, (index) => index % 3)).judge(4, 0).score).toBeLessThan(bandScore);
    expect(taught(many(300, () => 5)).judge(7, 0).score).toBeLessThan(bandScore);
    expect(taught(many(300, () => 0)).judge(2, 0).score).toBeLessThan(bandScore);
    expect(
      taught(
        many(300, () => 0),
        { absolute: 0.01, relative: 0.05 },
      ).judge(0.05, 0).score,
    ).toBeLessThan(bandScore);
    expect(
      taught(
        many(300, () => 0),
        { absolute: 0.01, relative: 0.05 },
      ).judge(0.5, 0).score,
    ).toBeGreaterThan(4);
  });

  it("never calls the first other value of a constant of unknown unit more than a novelty", () => {
    const judged = taught(many(300, () => 0)).judge(0.37, 0);
    expect(judged.score).toBeGreaterThan(0);
    expect(judged.score).toBeLessThan(bandScore);
    expect(judged.upper).toBeNull();
  });

  it("follows a slow drift without an alarm", () => {
    const random = uniform(3);
    const baseline = new RobustBaseline(noFloor);
    for (let index = 0; index < 1_500; index += 1) {
      const value = 100 + 40 * Math.sin(index / 100) + 2 * normal(random);
      expect(baseline.judge(value, 0).score ?? 0).toBeLessThan(bandScore);
      baseline.learn(value);
    }
  });

  it("takes chance in the value itself into account", () => {
    const random = uniform(4);
    const baseline = taught(many(100, () => 0.2 * random()));
    expect(baseline.judge(1.5, 0).score).toBeGreaterThan(bandScore);
    expect(baseline.judge(1.5, 0.5).score).toBeLessThan(bandScore);
  });

  it("rates zeros by their run and by how usual they are", () => {
    const busy = taught(many(299, () => 10));
    expect(busy.judgeEmpty(1, 10)).toBeLessThan(bandScore);
    expect(busy.judgeEmpty(2, 10)).toBeGreaterThan(4.5);
    const rare = taught(many(300, (index) => (index % 4 === 0 ? 1 : 0)));
    expect(rare.judgeEmpty(10, 0.25)).toBeLessThan(bandScore);
  });

  it("accepts a new level after 300 values kept out of learning, and not before", () => {
    const baseline = taught(many(100, () => 10));
    for (let index = 0; index < 299; index += 1) baseline.skip();
    expect(baseline.state).toBe("tracked");
    baseline.skip();
    expect(baseline.state).toBe("learning");
    for (let index = 0; index < 30; index += 1) baseline.learn(90);
    expect(baseline.judge(90, 0).score).toBe(0);
  });

  it("falls silent after five missing windows, later where gaps are usual", () => {
    const steady = taught(many(50, () => 1));
    for (let index = 0; index < 4; index += 1) steady.miss();
    expect(steady.state).toBe("tracked");
    steady.miss();
    expect(steady.state).toBe("silent");
    const sparse = new RobustBaseline(noFloor);
    for (let index = 0; index < 50; index += 1) {
      for (let gap = 0; gap < 9; gap += 1) sparse.miss();
      sparse.learn(1);
    }
    for (let index = 0; index < 20; index += 1) sparse.miss();
    expect(sparse.state).toBe("tracked");
    for (let index = 0; index < 20; index += 1) sparse.miss();
    expect(sparse.state).toBe("silent");
    sparse.learn(1);
    expect(sparse.state).toBe("tracked");
  });

  it("goes on after being written and read as if nothing had happened", () => {
    const random = uniform(5);
    const original = taught(many(333, () => 7 + normal(random)));
    original.miss();
    original.skip();
    const copy = RobustBaseline.fromJSON(noFloor, JSON.parse(JSON.stringify(original)));
    for (let index = 0; index < 50; index += 1) {
      const value = 7 + 2 * normal(random);
      expect(copy.judge(value, 0)).toEqual(original.judge(value, 0));
      original.learn(value);
      copy.learn(value);
    }
    expect(JSON.stringify(copy)).toBe(JSON.stringify(original));
  });
});
