import { describe, expect, it } from "vitest";
import type { InterfaceCounter } from "../../../services/agent/decode-counters.ts";
import { InterfaceRates, judged } from "../../../services/agent/live-interfaces.ts";

const own = {
  netns: 7,
  names: new Map([
    [1, "lo"],
    [2, "eth0"],
  ]),
};

function row(index: number, packets: number, netns = 7): InterfaceCounter {
  return { netns, interface: index, packetsReceived: packets, bytesReceived: packets * 100, packetsSent: 0, bytesSent: 0 };
}

describe("a value beside the ones before it", () => {
  it("has mean, sigma and Z of exactly those", () => {
    const before = [2, 4, 4, 4, 5, 5, 7, 9, 5, 5];
    const mean = 5;
    const sigma = Math.sqrt(before.reduce((sum, one) => sum + (one - mean) ** 2, 0) / before.length);
    expect(judged(11, before)).toEqual({ perSecond: 11, mean, sigma, z: 6 / sigma, isUnusual: true });
    expect(judged(5 + 2.9 * sigma, before).isUnusual).toBe(false);
    expect(judged(0, before)).toMatchObject({ z: -5 / sigma, isUnusual: false });
  });

  it("is not judged by fewer than ten", () => {
    expect(judged(100, [])).toEqual({ perSecond: 100, mean: null, sigma: null, z: null, isUnusual: false });
    expect(judged(100, [1, 2, 1, 2, 1, 2, 1, 2, 1])).toMatchObject({ mean: 13 / 9, z: null, isUnusual: false });
  });

  it("is unusual above values that were all the same, which have no Z", () => {
    expect(judged(1, Array(10).fill(0))).toMatchObject({ sigma: 0, z: null, isUnusual: true });
    expect(judged(0, Array(10).fill(0))).toMatchObject({ z: null, isUnusual: false });
  });
});

describe("interfaces", () => {
  it("have rates from the second reading on; idle ones of this namespace are there, others under their namespace", () => {
    const rates = new InterfaceRates();
    expect(rates.read([row(1, 50)], 1_000, own)).toEqual([]);
    const rows = rates.read([row(1, 150), row(3, 8, 99)], 3_000, own);
    expect(
      rows.map(({ name, rates: { packetsReceived, bytesReceived } }) => [name, packetsReceived.perSecond, bytesReceived.perSecond]),
    ).toEqual([
      ["lo", 50, 5_000],
      ["eth0", 0, 0],
      ["netns-99:3", 4, 400],
    ]);
  });

  it("a burst after quiet seconds is marked, and is part of what the next second is beside", () => {
    const rates = new InterfaceRates();
    for (let second = 0; second <= 20; second += 1) rates.read([row(2, second * 10 + (second % 2))], second * 1_000, own);
    const burst = rates.read([row(2, 1_210)], 21_000, own).find(({ name }) => name === "eth0");
    expect(burst?.rates.packetsReceived).toMatchObject({ perSecond: 1_010, isUnusual: true });
    expect(burst?.rates.packetsSent.isUnusual).toBe(false);
    const next = rates.read([row(2, 1_220)], 22_000, own).find(({ name }) => name === "eth0");
    expect(next?.rates.packetsReceived.mean).toBeGreaterThan(50);
  });

  it("five minutes are remembered", () => {
    const rates = new InterfaceRates();
    rates.read([row(2, 0)], 0, own);
    for (let second = 1; second <= 300; second += 1) rates.read([row(2, second * 1_000)], second * 1_000, own);
    for (let second = 301; second <= 600; second += 1) rates.read([row(2, 300_000 + (second - 300) * 10)], second * 1_000, own);
    const last = rates.read([row(2, 303_010)], 601_000, own).find(({ name }) => name === "eth0");
    expect(last?.rates.packetsReceived).toMatchObject({ perSecond: 10, mean: 10, sigma: 0 });
  });

  it("one that is gone is gone, and no more are followed than the bound", () => {
    const rates = new InterfaceRates();
    rates.read([], 0, own);
    rates.read([], 1_000, own);
    expect(rates.read([], 2_000, { netns: 7, names: new Map([[1, "lo"]]) }).map(({ name }) => name)).toEqual(["lo"]);
    const many = Array.from({ length: 1_100 }, (_, index) => row(index + 1, 1, 99));
    expect(rates.read(many, 3_000, own)).toHaveLength(1_024);
    expect(rates.refused).toBe(1_100 - 1_022);
  });
});
