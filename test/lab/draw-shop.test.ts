import { describe, expect, it } from "vitest";
import { drawShop } from "../../lab/draw-shop.ts";
import { faultNames, targetsOf } from "../../lab/fault/fault.ts";
import { faultTable } from "../../lab/fault/table.ts";
import { reachOfDatabase, reachOfEdge, reachOfService, requestsPerSecondOf } from "../../lab/reach.ts";
import { edgesOf, type ShopSpec, serviceOf } from "../../lab/spec.ts";

const shops = Array.from({ length: 200 }, (_, seed) => drawShop({ seed, namespace: null }));

/** The share of an entry's requests that meet a condition, by playing many of them: independent of how `reach.ts` reckons. */
function playedShare(shop: ShopSpec, entry: string, meets: (caller: string, callee: string) => boolean): number {
  let state = 12_345;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  const visit = (caller: string, service: string, operation: string): boolean => {
    const found = serviceOf(shop, service).operations.find((other) => other.name === operation)!;
    return found.calls
      .filter((call) => call.need === "required" && random() < call.probability)
      .map((call) => visit(service, call.callee, call.operation))
      .reduce((one, other) => one || other, meets(caller, service));
  };
  const { operations } = serviceOf(shop, entry);
  const total = operations.reduce((sum, operation) => sum + operation.weight, 0);
  let hits = 0;
  for (let round = 0; round < 2_000; round += 1) {
    const at = random() * total;
    const sums = operations.map((_, index) => operations.slice(0, index + 1).reduce((sum, operation) => sum + operation.weight, 0));
    const chosen = operations[sums.findIndex((sum) => at < sum)]!;
    if (visit("", entry, chosen.name)) hits += 1;
  }
  return hits / 2_000;
}

describe("a shop drawn from a seed", () => {
  it("has a few services that keep a journal, of those that most requests get to", () => {
    for (const shop of shops) {
      const kept = shop.services.filter(({ journal }) => journal === "kept");
      expect(kept.length).toBeLessThanOrEqual(3);
      expect(kept.every(({ name }) => reachOfService(shop, name).share >= 0.75)).toBe(true);
    }
    expect(shops.filter((shop) => shop.services.some(({ journal }) => journal === "kept")).length).toBe(200);
  });

  it("is the same for the same seed and another one for another", () => {
    expect(drawShop({ seed: 7, namespace: null })).toEqual(shops[7]);
    expect(new Set(shops.map((shop) => JSON.stringify({ ...shop, seed: 0 }))).size).toBe(200);
  });

  it("has 6 to 12 services with distinct names, 1 to 3 entries and 3 hosts", () => {
    for (const shop of shops) {
      expect(shop.services.length).toBeGreaterThanOrEqual(6);
      expect(shop.services.length).toBeLessThanOrEqual(12);
      expect(new Set(shop.services.map((service) => service.name)).size).toBe(shop.services.length);
      expect([1, 2, 3]).toContain(shop.entries.length);
      expect(new Set(shop.hosts).size).toBe(3);
      expect(shop.services.every((service) => shop.hosts.includes(service.host))).toBe(true);
    }
    expect(new Set(shops.map((shop) => shop.services.length)).size).toBe(7);
    expect(new Set(shops.map((shop) => shop.entries.length)).size).toBe(3);
  });

  it("has calls that lead downwards only, to operations that exist, at most one per pair and operation", () => {
    for (const shop of shops) {
      for (const service of shop.services) {
        for (const operation of service.operations) {
          expect(new Set(operation.calls.map((call) => call.callee)).size).toBe(operation.calls.length);
          for (const call of operation.calls) {
            const callee = serviceOf(shop, call.callee);
            expect(callee.layer).toBeGreaterThan(service.layer);
            expect(callee.operations.map((other) => other.name)).toContain(call.operation);
            expect(call.timeoutMs).toBeGreaterThanOrEqual(1_000);
          }
        }
      }
    }
  });

  it("is entered only where nobody inside calls, and every other service is called", () => {
    for (const shop of shops) {
      const called = new Set(edgesOf(shop).map((edge) => edge.callee));
      for (const service of shop.services) expect(called.has(service.name)).toBe(service.layer > 0);
      expect(shop.entries.map((entry) => entry.service)).toEqual(
        shop.services.filter((service) => service.layer === 0).map((service) => service.name),
      );
    }
  });

  it("takes 8 to 15 requests per second per entry, works 2 to 15 ms a step, and costs two cores little", () => {
    for (const shop of shops) {
      for (const entry of shop.entries) expect(entry.requestsPerSecond >= 8 && entry.requestsPerSecond <= 15).toBe(true);
      for (const operation of shop.services.flatMap((service) => service.operations)) {
        expect(operation.workMs >= 2 && operation.workMs <= 15).toBe(true);
      }
      expect(requestsPerSecondOf(shop)).toBeLessThanOrEqual(150);
    }
  });

  it("lets each fault hit any of at least three services, felt by three quarters of an entry's requests", () => {
    for (const shop of shops) {
      for (const name of faultNames) {
        const targets = targetsOf(shop, faultTable[name]);
        expect(new Set(targets.map((target) => target.service)).size).toBeGreaterThanOrEqual(3);
        for (const target of targets) expect(faultTable[name].needs(shop, target)!.share).toBeGreaterThanOrEqual(0.75);
      }
    }
  });

  it("has the reach that playing its requests shows, or more", () => {
    for (const shop of shops.slice(0, 25)) {
      for (const service of shop.services) {
        const reach = reachOfService(shop, service.name);
        const played = playedShare(shop, reach.entry, (_caller, callee) => callee === service.name);
        expect(played).toBeGreaterThan(reach.share - 0.05);
      }
      for (const edge of edgesOf(shop)) {
        const reach = reachOfEdge(shop, edge);
        const played = playedShare(shop, reach.entry, (caller, callee) => caller === edge.caller && callee === edge.callee);
        expect(played).toBeGreaterThan(reach.share - 0.05);
      }
    }
  });

  it("gives a database only with a pool small enough to run out within seconds", () => {
    for (const shop of shops) {
      for (const target of targetsOf(shop, faultTable["pool-leak"])) {
        const { poolMax } = serviceOf(shop, target.service);
        const { entry, share } = reachOfDatabase(shop, target.service);
        const rate = shop.entries.find((other) => other.service === entry)!.requestsPerSecond * share;
        const leakedPerSecond = rate * faultTable["pool-leak"].range({ entryP95Ms: 50, variant: "not-released" }).mild;
        // Also at the bottom of the daily shape.
        expect(poolMax! / (leakedPerSecond * 0.75)).toBeLessThan(4);
      }
    }
  });

  it("carries its namespace and nothing about roles in its names", () => {
    expect(drawShop({ seed: 3, namespace: "lab" }).namespace).toBe("lab");
    for (const shop of shops) {
      expect(shop.services.filter((service) => /gateway|front|entry|api|victim|fault|db|cache/.test(service.name))).toEqual([]);
    }
    // The same name stands in different places in different shops.
    const layers = new Map<string, Set<number>>();
    for (const service of shops.flatMap((shop) => shop.services)) {
      layers.set(service.name, (layers.get(service.name) ?? new Set()).add(service.layer));
    }
    expect([...layers.values()].every((seen) => seen.size >= 2)).toBe(true);
  });
});
