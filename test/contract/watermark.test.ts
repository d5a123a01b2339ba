import { describe, expect, it } from "vitest";
import { SourceWatermarks } from "../../contract/watermark.ts";

function create(sourcesMax = 10) {
  const counted: string[] = [];
  const options = { silentMs: 10, sourcesMax, onCounted: (what: string) => counted.push(what) };
  return { watermarks: new SourceWatermarks(options), counted, options };
}

describe("SourceWatermarks", () => {
  it("moves over contiguous sequences only, whatever order they come in", () => {
    const { watermarks } = create();
    watermarks.observe({ source: "a", sequence: 1, atUs: 2_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBeNull();
    watermarks.observe({ source: "a", sequence: 0, atUs: 1_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(2_000);
    watermarks.observe({ source: "a", sequence: 3, atUs: 4_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(2_000);
    watermarks.observe({ source: "a", sequence: 2, atUs: 1_500, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(4_000);
  });

  it("is as low as the slowest live source, and ignores silent ones", () => {
    const { watermarks } = create();
    watermarks.observe({ source: "slow", sequence: 0, atUs: 1_000, receivedAtMs: 0 });
    watermarks.observe({ source: "fast", sequence: 0, atUs: 11_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(1_000);
    watermarks.observe({ source: "fast", sequence: 1, atUs: 11_001, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(11_001);
    watermarks.observe({ source: "slow", sequence: 1, atUs: 5_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(5_000);
  });

  it("gives up a missing batch when the source is silent-time ahead of it, and says so", () => {
    const { watermarks, counted } = create();
    watermarks.observe({ source: "a", sequence: 0, atUs: 0, receivedAtMs: 0 });
    for (let sequence = 2; sequence < 12; sequence += 1)
      watermarks.observe({ source: "a", sequence, atUs: sequence * 1_000 - 1_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(0);
    watermarks.observe({ source: "a", sequence: 12, atUs: 11_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(11_000);
    expect(counted).toEqual(["gap"]);
  });

  it("does not move for a batch that comes twice, and follows a source that counts anew", () => {
    const { watermarks } = create();
    for (const sequence of [0, 1, 2]) watermarks.observe({ source: "a", sequence, atUs: sequence * 1_000, receivedAtMs: 0 });
    watermarks.observe({ source: "a", sequence: 1, atUs: 1_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(2_000);
    watermarks.observe({ source: "a", sequence: 0, atUs: 3_000, receivedAtMs: 0 });
    watermarks.observe({ source: "a", sequence: 1, atUs: 4_000, receivedAtMs: 0 });
    expect(watermarks.lowUs()).toBe(4_000);
  });

  it("forgets the source that is silent for longest when there are too many", () => {
    const { watermarks, counted } = create(2);
    for (const [index, source] of ["a", "b", "c"].entries())
      watermarks.observe({ source, sequence: 0, atUs: 1_000 * index, receivedAtMs: 0 });
    expect(counted).toEqual(["source"]);
    expect(watermarks.lowUs()).toBe(1_000);
  });

  it("goes on after being written and read as if nothing had happened", () => {
    const { watermarks, options } = create();
    watermarks.observe({ source: "a", sequence: 0, atUs: 1_000, receivedAtMs: 0 });
    watermarks.observe({ source: "a", sequence: 2, atUs: 3_000, receivedAtMs: 0 });
    watermarks.observe({ source: "b", sequence: 1, atUs: 2_000, receivedAtMs: 0 });
    const copy = SourceWatermarks.fromJSON(JSON.parse(JSON.stringify(watermarks)), options);
    for (const each of [watermarks, copy]) {
      each.observe({ source: "b", sequence: 0, atUs: 500, receivedAtMs: 0 });
      each.observe({ source: "a", sequence: 1, atUs: 2_500, receivedAtMs: 0 });
      expect(each.lowUs()).toBe(2_000);
      expect([each.newestUs, each.firstUs]).toEqual([3_000, 500]);
    }
  });
});

it("a batch with nothing in it moves event time on by as long as it came after the newest one, whatever clocks the sources have", () => {
  const watermarks = new SourceWatermarks(create().options);
  watermarks.observe({ source: "a", sequence: 0, atUs: 1_000_000_000, receivedAtMs: 5_000_000 });
  watermarks.observe({ source: "idle", sequence: 0, atUs: 0, receivedAtMs: 5_000_030 });
  expect(watermarks.newestUs).toBe(1_000_030_000);
  expect(watermarks.lowUs()).toBe(1_000_030_000);
  expect(SourceWatermarks.fromJSON(JSON.parse(JSON.stringify(watermarks)), create().options).toJSON()).toEqual(watermarks.toJSON());
  // A gateway that is idle while others are not says nothing new.
  watermarks.observe({ source: "a", sequence: 1, atUs: 1_000_060_000, receivedAtMs: 5_000_060 });
  watermarks.observe({ source: "idle", sequence: 1, atUs: 0, receivedAtMs: 5_000_050 });
  expect(watermarks.newestUs).toBe(1_000_060_000);
});

it("checkpoints without times of receipt are read as if clocks had agreed", () => {
  const watermarks = SourceWatermarks.fromJSON([["a", 1, 7_000_000, 7_000_000, 7_000_000, []]], create().options);
  watermarks.observe({ source: "idle", sequence: 0, atUs: 0, receivedAtMs: 7_030 });
  expect(watermarks.newestUs).toBe(7_030_000);
});
