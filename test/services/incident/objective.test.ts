import { expect, test } from "vitest";
import { Objectives } from "../../../services/incident/objective.ts";
import { timingOf } from "../../../services/incident/timing.ts";
import { served } from "./served.ts";

const timing = timingOf({ windowMs: 1_000, timeScale: 60 });
const targets = { availabilityTarget: 0.995, latencyTarget: 0.99, latencyFactor: 2 };

/** Feeds windows from second `from` on; answers the second after the last. */
function feed(
  objectives: Objectives,
  from: number,
  seconds: number,
  what: { count: number; failed?: number; ms?: number; slow?: number },
): number {
  for (let second = from; second < from + seconds; second += 1) {
    objectives.observe(served("shop", second * 1_000, what), { learn: "yes" });
  }
  return from + seconds;
}

test("healthy requests burn nothing", () => {
  const objectives = new Objectives(targets, timing);
  const end = feed(objectives, 0, 400, { count: 50, ms: 20 });
  expect(objectives.burn("availability", end * 1_000)).toBeNull();
  expect(objectives.burn("latency", end * 1_000)).toBeNull();
  expect(objectives.health("latency", end * 1_000)).toBe("good");
});

test("a tenth of failing requests burns within a minute, with the onset where they began", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 60, { count: 50, ms: 20 });
  let burnedAt: number | null = null;
  for (let second = 0; second < 60 && burnedAt === null; second += 1) {
    end = feed(objectives, end, 1, { count: 50, failed: 10, ms: 20 });
    const burn = objectives.burn("availability", end * 1_000);
    if (burn === null) continue;
    burnedAt = end;
    expect(burn).toMatchObject({ objective: "availability", onsetMs: 60_000, factor: 6 });
  }
  expect(burnedAt).not.toBeNull();
});

test("everything failing burns the fast pair within five seconds", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 60, { count: 50, ms: 20 });
  end = feed(objectives, end, 5, { count: 50, failed: 50, ms: 20 });
  expect(objectives.burn("availability", end * 1_000)).toEqual({ objective: "availability", factor: 14.4, onsetMs: 60_000 });
});

test("four failures at low traffic burn nothing, however large their share", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 60, { count: 1, ms: 20 });
  end = feed(objectives, end, 4, { count: 1, failed: 1, ms: 20 });
  expect(objectives.burn("availability", end * 1_000)).toBeNull();
  end = feed(objectives, end, 1, { count: 2, failed: 2, ms: 20 });
  expect(objectives.burn("availability", end * 1_000)).not.toBeNull();
});

test("an entity seen for less than twenty seconds does not burn", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 19, { count: 50, failed: 50 });
  expect(objectives.burn("availability", end * 1_000)).toBeNull();
  end = feed(objectives, end, 1, { count: 50, failed: 50 });
  expect(objectives.burn("availability", end * 1_000)).not.toBeNull();
});

test("latency burns above twice the learned p95, and not before there is one", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 4, { count: 50, ms: 20 });
  expect(objectives.slowAboveNs).toBeNull();
  end = feed(objectives, end, 40, { count: 50, ms: 20 });
  expect(objectives.slowAboveNs).toBeGreaterThan(38e6);
  expect(objectives.slowAboveNs).toBeLessThan(43e6);
  end = feed(objectives, end, 5, { count: 50, ms: 20, slow: 10 });
  expect(objectives.burn("latency", end * 1_000)).toBeNull();
  end = feed(objectives, end, 20, { count: 50, ms: 200 });
  expect(objectives.burn("latency", end * 1_000)).toMatchObject({ objective: "latency", onsetMs: 44_000 });
});

test("a mild slowness that takes long to burn is not learned meanwhile", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 40, { count: 50, ms: 20 });
  const before = objectives.slowAboveNs;
  end = feed(objectives, end, 60, { count: 50, ms: 20, slow: 5 });
  expect(objectives.slowAboveNs).toBe(before);
  expect(objectives.burn("latency", end * 1_000)).toMatchObject({ objective: "latency", onsetMs: 40_000, factor: 6 });
});

test("a slow stretch does not become normal: windows are learned late, and not while something burns", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 40, { count: 50, ms: 20 });
  const before = objectives.slowAboveNs;
  end = feed(objectives, end, 4, { count: 50, ms: 400 });
  objectives.doubt();
  for (let second = 0; second < 60; second += 1) {
    objectives.observe(served("shop", (end + second) * 1_000, { count: 50, ms: 400 }), { learn: "no" });
  }
  expect(objectives.slowAboveNs).toBe(before);
});

test("a stray failure long before the stretch does not move its onset, and a good window within does not cut it", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 50, { count: 50, ms: 20 });
  end = feed(objectives, end, 1, { count: 50, failed: 2, ms: 20 });
  end = feed(objectives, end, 9, { count: 50, ms: 20 });
  for (let round = 0; round < 4; round += 1) {
    end = feed(objectives, end, 2, { count: 50, failed: 40, ms: 20 });
    end = feed(objectives, end, 1, { count: 50, ms: 20 });
  }
  expect(objectives.burn("availability", end * 1_000)?.onsetMs).toBe(60_000);
});

test("an earlier bad stretch that did not burn and was over does not move the onset, however large it was", () => {
  for (const gap of [6, 30]) {
    const objectives = new Objectives(targets, timing);
    let end = feed(objectives, 0, 60, { count: 50, ms: 20 });
    end = feed(objectives, end, 3, { count: 50, ms: 200 });
    end = feed(objectives, end, gap, { count: 50, ms: 20 });
    const begun = end;
    end = feed(objectives, end, 10, { count: 50, ms: 20, slow: 30 });
    expect(objectives.burn("latency", end * 1_000)?.onsetMs).toBe(begun * 1_000);
  }
});

test("after recovery an old fault burns no more, though the long window still holds it", () => {
  const objectives = new Objectives(targets, timing);
  let end = feed(objectives, 0, 60, { count: 50, ms: 20 });
  end = feed(objectives, end, 20, { count: 50, failed: 50, ms: 20 });
  end = feed(objectives, end, 10, { count: 50, ms: 20 });
  expect(objectives.health("availability", end * 1_000)).toBe("good");
  expect(objectives.burn("availability", end * 1_000)).not.toBeNull();
  objectives.recovered("availability", (end - 5) * 1_000);
  expect(objectives.burn("availability", end * 1_000)).toBeNull();
});

test("the state survives its JSON form", () => {
  const objectives = new Objectives(targets, timing);
  const end = feed(objectives, 0, 700, { count: 50, failed: 1, ms: 20 });
  const copy = new Objectives(targets, timing, JSON.parse(JSON.stringify(objectives.toJson())));
  for (const copied of [objectives, copy]) feed(copied, end, 5, { count: 50, failed: 40, ms: 300 });
  expect(copy.burn("availability", (end + 5) * 1_000)).toEqual(objectives.burn("availability", (end + 5) * 1_000));
  expect(copy.burn("latency", (end + 5) * 1_000)).toEqual(objectives.burn("latency", (end + 5) * 1_000));
  expect(copy.toJson()).toEqual(objectives.toJson());
});
