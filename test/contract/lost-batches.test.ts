import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LostBatches } from "../../contract/lost-batches.ts";
import { SourceWatermarks } from "../../contract/watermark.ts";

const silentMs = 10;
/** By then it is known which sources are new. */
const oldMs = 600_000;

interface Observed {
  readonly source?: string;
  readonly gateway?: string;
  readonly sequence: number;
  /** Event time and time of receipt. */
  readonly atMs: number;
}

function create(sourcesMax = 100) {
  const counted = { gap: 0, source: 0 };
  let bounds = 0;
  const lost = new LostBatches({
    onBound: () => {
      bounds += 1;
    },
  });
  const options = {
    ...{ silentMs, sourcesMax, lost },
    onCounted: (what: "gap" | "source", count: number) => {
      counted[what] += count;
    },
  };
  const watermarks = new SourceWatermarks(options);
  const observe = ({ source = "a", gateway = "g", sequence, atMs }: Observed, by = watermarks): void =>
    by.observe({ source, gateway, sequence, atUs: atMs * 1_000, receivedAtMs: atMs });
  const count = (): number => lost.groups().reduce((sum, { batches }) => sum + batches, 0);
  return { lost, options, watermarks, observe, count, counted, bounds: () => bounds };
}

describe("the account of lost batches", () => {
  it("counts every number of a gap that is given up, with its gateway and when it was found", () => {
    const { observe, lost, counted } = create();
    observe({ sequence: 0, atMs: 1_000 });
    observe({ sequence: 6, atMs: 1_005 });
    expect(lost.groups()).toEqual([]);
    observe({ sequence: 8, atMs: 1_011 });
    expect(lost.groups()).toEqual([{ gateway: "g", foundAtMs: 1_011, batches: 5 }]);
    expect(counted).toEqual({ gap: 5, source: 0 });
  });

  it("takes back what comes late after all, whether it is older or newer than all that was seen", () => {
    const { observe, count, watermarks, lost } = create();
    observe({ sequence: 0, atMs: 1_000 });
    observe({ sequence: 5, atMs: 1_011 });
    expect(count()).toBe(4);
    for (const sequence of [2, 2, 5, 0]) observe({ sequence, atMs: 1_001 });
    expect(count()).toBe(3);
    observe({ sequence: 3, atMs: 1_012 });
    expect(count()).toBe(2);
    // The flow goes on after it where it was.
    observe({ sequence: 6, atMs: 1_013 });
    observe({ sequence: 7, atMs: 1_040 });
    expect([count(), watermarks.lowUs()]).toEqual([2, 1_040_000]);
    for (const sequence of [1, 4]) observe({ sequence, atMs: 1_001 });
    expect(lost.groups()).toEqual([]);
  });

  it("counts a number once that was used twice, because nobody acknowledged its first use", () => {
    const { observe, count, counted } = create();
    for (const [sequence, atMs] of [
      [0, 1_000],
      [1, 1_001],
      [2, 1_002],
      [1, 1_003],
      [3, 1_004],
      [4, 1_030],
    ] as const)
      observe({ sequence, atMs });
    expect([count(), counted.gap]).toEqual([0, 0]);
  });

  it("finds what is missing of a source that has fallen silent since", () => {
    const { observe, lost } = create();
    observe({ sequence: 0, atMs: 1_000 });
    observe({ sequence: 2, atMs: 1_005 });
    observe({ source: "b", gateway: "other", sequence: 0, atMs: 1_010 });
    observe({ source: "b", gateway: "other", sequence: 1, atMs: 3_000 });
    expect(lost.groups()).toEqual([{ gateway: "g", foundAtMs: 3_000, batches: 1 }]);
  });

  it("takes first numbers for lost only where it is known that the source is new", () => {
    const { observe, count } = create();
    observe({ sequence: 40, atMs: 1_000 });
    observe({ sequence: 41, atMs: 2_000 });
    expect(count()).toBe(0);
    observe({ sequence: 42, atMs: 1_000 + oldMs });
    observe({ source: "new", sequence: 2, atMs: 1_001 + oldMs });
    observe({ source: "new", sequence: 3, atMs: 1_020 + oldMs });
    expect(count()).toBe(2);
  });

  it("takes no source for new once one was forgotten", () => {
    const { observe, count, counted } = create(2);
    observe({ source: "a", sequence: 0, atMs: 1_000 });
    observe({ source: "b", sequence: 0, atMs: 1_001 });
    observe({ source: "c", sequence: 0, atMs: 1_000 + oldMs });
    observe({ source: "a", sequence: 5, atMs: 1_001 + oldMs });
    observe({ source: "a", sequence: 6, atMs: 1_020 + oldMs });
    expect([count(), counted.source]).toEqual([0, 2]);
  });

  it("tells of what was found together as one loss a gateway, and forgets it after an hour", () => {
    const { observe, lost } = create();
    for (const source of ["a", "b"]) observe({ source, gateway: `g-${source}`, sequence: 0, atMs: 1_000 });
    for (const [source, atMs] of [
      ["a", 1_020],
      ["b", 1_021],
      ["a", 40_000],
      ["a", 70_000],
    ] as const)
      observe({ source, gateway: `g-${source}`, sequence: atMs, atMs });
    expect(lost.groups()).toEqual([
      { gateway: "g-a", foundAtMs: 1_020, batches: 1_019 + 40_000 - 1_021 },
      { gateway: "g-b", foundAtMs: 1_021, batches: 1_020 },
      { gateway: "g-a", foundAtMs: 70_000, batches: 29_999 },
    ]);
    observe({ source: "b", sequence: 1_022, atMs: 3_601_022 });
    observe({ source: "b", sequence: 1_023, atMs: 3_601_023 });
    expect(lost.groups().map(({ foundAtMs }) => foundAtMs)).toEqual([70_000]);
    // Nothing is left that a late batch could be taken from.
    observe({ source: "b", sequence: 5, atMs: 3_601_000 });
    expect(lost.groups().map(({ batches }) => batches)).toEqual([29_999]);
  });

  it("joins the oldest losses beyond 100 and keeps their sum", () => {
    const { lost, count, bounds } = create();
    for (let minute = 0; minute < 50; minute += 1) {
      lost.observe(1_000 + minute * 60_000);
      for (const gateway of ["g", "h", "i"]) lost.givenUp({ source: `${gateway}${minute}`, gateway, from: 1, to: 2, place: "between" });
    }
    expect([lost.groups().length, count(), bounds()]).toEqual([100, 300, 50]);
    expect(lost.groups()[0]).toEqual({ gateway: "several gateways", foundAtMs: 1_000, batches: 102 });
    lost.arrived("g0", 2);
    expect(lost.groups()[0]?.batches).toBe(101);
  });

  it("counts a gap beyond 10,000 for good", () => {
    const { lost, count, bounds } = create();
    lost.observe(1_000);
    for (let source = 0; source < 10_002; source += 1)
      lost.givenUp({ source: String(source), gateway: "g", from: 1, to: 1, place: "between" });
    lost.arrived("10001", 1);
    lost.arrived("0", 1);
    expect([count(), bounds()]).toEqual([10_001, 2]);
  });

  it("is the same for whoever writes it, loads it and reads on, and counts exactly what never came", () => {
    const arrivals = fc
      .record({
        kept: fc.array(fc.boolean(), { minLength: 5, maxLength: 60 }),
        swaps: fc.array(fc.nat(58), { maxLength: 20 }),
        cut: fc.nat(60),
      })
      .map(({ kept, swaps, cut }) => {
        const numbers = kept.flatMap((isKept, sequence) => (isKept || sequence === 0 ? [sequence] : []));
        for (const at of swaps) {
          const [left, right] = [numbers[at + 1], numbers[at + 2]];
          if (at > 0 && left !== undefined && right !== undefined) numbers.splice(at + 1, 2, right, left);
        }
        return { numbers, cut, lostCount: Math.max(...numbers) + 1 - numbers.length };
      });
    fc.assert(
      fc.property(arrivals, ({ numbers, cut, lostCount }) => {
        const [whole, first, second] = [create(), create(), create()];
        // Every fourth batch is further ahead than a gap is waited for, so that some are given up and come late.
        const rows = numbers.map((sequence) => ({ sequence, atMs: 1_000 + sequence * 4 }));
        const end = { sequence: Math.max(...numbers) + 1, atMs: 9_000 };
        for (const row of [...rows, end]) whole.observe(row);
        for (const row of rows.slice(0, cut)) first.observe(row);
        second.lost.restore(JSON.parse(JSON.stringify(first.lost)));
        const loaded = SourceWatermarks.fromJSON(JSON.parse(JSON.stringify(first.watermarks)), second.options);
        for (const row of [...rows.slice(cut), end]) second.observe(row, loaded);
        expect(whole.count()).toBe(lostCount);
        expect(JSON.stringify(second.lost)).toBe(JSON.stringify(whole.lost));
      }),
    );
  });
});
