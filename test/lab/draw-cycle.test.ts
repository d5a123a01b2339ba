import { describe, expect, it } from "vitest";
import { FaultKind } from "../../contract/verdict.ts";
import { drawCycle } from "../../lab/draw-cycle.ts";
import { drawShop } from "../../lab/draw-shop.ts";
import { faultNames, magnitudeOf, rootFaultNames, targetsOf } from "../../lab/fault/fault.ts";
import { faultTable } from "../../lab/fault/table.ts";
import { edgesOf, serviceOf } from "../../lab/spec.ts";

const settleMs = 30_000;
const cases = Array.from({ length: 60 }, (_, seed) => {
  const shop = drawShop({ seed, namespace: seed % 2 === 0 ? null : "lab" });
  return faultNames.map((fault, cycle) => ({ shop, fault, plan: drawCycle(shop, { cycle, fault, settleMs }) }));
}).flat();

describe("a cycle drawn from a seed", () => {
  it("is the same for the same seed and cycle, and hits different services in different cycles", () => {
    const { shop } = cases[0]!;
    const draw = (cycle: number) => drawCycle(shop, { cycle, fault: "slow-code", settleMs });
    expect(draw(4)).toEqual(draw(4));
    expect(new Set(Array.from({ length: 20 }, (_, cycle) => draw(cycle).target.service)).size).toBeGreaterThanOrEqual(3);
  });

  it("breaks something the fault can break, after settling, for 18 to 20 s", () => {
    for (const { shop, fault, plan } of cases) {
      expect(targetsOf(shop, faultTable[fault])).toContainEqual(plan.target);
      expect(plan.onsetAfterMs).toBeGreaterThanOrEqual(settleMs);
      expect(plan.onsetAfterMs).toBeLessThanOrEqual(settleMs + 6_000);
      expect(plan.durationMs >= 18_000 && plan.durationMs <= 20_000).toBe(true);
      expect(shop.entries.map((entry) => entry.service)).toContain(plan.entry);
    }
  });

  it("precedes a fault that no change caused by an innocent deploy, 5 to 30 s before", () => {
    for (const { plan, fault } of cases.filter((one) => faultTable[one.fault].change === null)) {
      const before = plan.decoys.filter((decoy) => decoy.change.kind === "deploy").map((decoy) => plan.onsetAfterMs - decoy.afterMs);
      expect(before.some((ms) => ms >= 5_000 && ms <= 30_000)).toBe(true);
      expect(plan.change).toBeNull();
      expect(drawCycle(cases[0]!.shop, { cycle: 1, fault, settleMs: 0 }).decoys[0]!.afterMs).toBeGreaterThanOrEqual(0);
    }
  });

  it("makes decoys of other services only, sometimes of neighbours and sometimes not", () => {
    const decoys = cases.flatMap(({ shop, plan }) => plan.decoys.map((decoy) => ({ shop, plan, decoy })));
    expect(decoys.filter(({ plan, decoy }) => decoy.change.service === plan.target.service)).toEqual([]);
    const near = decoys.filter(({ shop, plan, decoy }) =>
      edgesOf(shop).some((edge) => [edge.caller, edge.callee].sort().join() === [decoy.change.service, plan.target.service].sort().join()),
    );
    expect(near.length).toBeGreaterThan(decoys.length * 0.4);
    expect(near.length).toBeLessThan(decoys.length);
    expect(decoys.every(({ plan, decoy }) => decoy.afterMs >= 0 && decoy.afterMs <= plan.onsetAfterMs + plan.durationMs)).toBe(true);
  });

  it("gives changes ids that tell nothing and never repeat, and flags that the service has", () => {
    const changes = cases.flatMap(({ shop, plan }) =>
      [...plan.decoys.map((decoy) => decoy.change), ...(plan.change === null ? [] : [plan.change])].map((change) => ({ shop, change })),
    );
    expect(changes.every(({ change }) => /^[0-9a-f]{16}$/.test(change.id))).toBe(true);
    expect(new Set(changes.map(({ change }) => change.id)).size).toBe(changes.length);
    for (const { shop, change } of changes) {
      if (change.kind === "flag") expect(serviceOf(shop, change.service).flags).toContain(change.subject);
    }
  });

  it("adds no more time than callers wait for, however slow the shop is already", () => {
    expect(faultTable["slow-code"].range({ entryP95Ms: 5_000, variant: "rounds" })).toMatchObject({ mild: 3_000, severe: 3_000 });
  });

  it("goes from mild to severe in its magnitudes, the mildest three times an entry's p95", () => {
    for (const name of faultNames) {
      for (const variant of faultTable[name].variants) {
        const range = faultTable[name].range({ entryP95Ms: 120, variant });
        expect(range.severe).toBeGreaterThanOrEqual(range.mild);
        expect(magnitudeOf(range, 0)).toBeCloseTo(range.mild, 3);
        expect(magnitudeOf(range, 1)).toBeCloseTo(range.severe, 3);
        if (range.unit === "ms added") expect(range).toMatchObject({ mild: 360, severe: 1_200 });
        if (range.unit === "share of requests") expect(range.mild).toBeGreaterThanOrEqual(0.5);
      }
    }
  });
});

describe("a fault of the machine", () => {
  const played = Array.from({ length: 60 }, (_, seed) => {
    const shop = drawShop({ seed, namespace: "lab" });
    const possible = rootFaultNames.filter((fault) => targetsOf(shop, faultTable[fault]).length > 0);
    return possible.map((fault, cycle) => ({ shop, fault, plan: drawCycle(shop, { cycle, fault, settleMs }) }));
  }).flat();

  it("is root's, and possible in nearly every shop", () => {
    for (const name of rootFaultNames) {
      expect(faultTable[name]).toMatchObject({ name, rights: "root", change: null });
      expect(played.filter(({ fault }) => fault === name).length).toBeGreaterThan(54);
    }
    expect(faultNames.every((name) => faultTable[name].rights === "none")).toBe(true);
  });

  it("has the service it hits as an answer, and a network's only dependency beside it", () => {
    for (const { shop, fault, plan } of played) {
      const truth = faultTable[fault].truth(shop, plan.target, null);
      expect(truth.every((item) => FaultKind.options.includes(item.kind))).toBe(true);
      expect(truth.map(({ id }) => id)).toContain(`lab/${plan.target.service}`);
      const callers = edgesOf(shop).filter((edge) => edge.callee === plan.target.service);
      const only = callers.length === 1 ? [`lab/${callers[0]!.caller}>lab/${plan.target.service}`] : [];
      const isNetwork = ["packet-loss", "refused", "network-delay"].includes(fault);
      expect(truth.filter(({ type }) => type === "dependency").map(({ id }) => id)).toEqual(isNetwork ? only : []);
    }
  });

  it("hits what its callers can see, a journal's keeper where it is the disk, and names the neighbour first where there is one", () => {
    for (const { shop, fault, plan } of played) {
      const victim = serviceOf(shop, plan.target.service);
      if (["packet-loss", "refused", "network-delay", "memory-limit"].includes(fault)) expect(victim.layer).toBeGreaterThan(0);
      if (fault === "disk-throttle") expect(victim.journal).toBe("kept");
      if (fault !== "noisy-neighbour") continue;
      const [neighbour, ...sufferers] = faultTable[fault].truth(shop, plan.target, null).map(({ id }) => id);
      expect(shop.services.map(({ name }) => `lab/${name}`)).not.toContain(neighbour);
      expect(sufferers).toEqual(shop.services.filter(({ host }) => host === victim.host).map(({ name }) => `lab/${name}`));
    }
  });
});

describe("the truth of a fault", () => {
  it("has the form of a case: known types and kinds, ids as Headwater names them", () => {
    for (const { shop, fault, plan } of cases) {
      const truth = faultTable[fault].truth(shop, plan.target, plan.change?.id ?? null);
      const name = (service: string): string => (shop.namespace === null ? service : `${shop.namespace}/${service}`);
      const victim = name(plan.target.service);
      expect(truth.every((item) => FaultKind.options.includes(item.kind))).toBe(true);
      expect(truth.filter((item) => item.type === "entity").map((item) => item.id)).toEqual([victim]);
      const rest = truth.filter((item) => item.type !== "entity").map(({ type, id }) => ({ type, id }));
      if (plan.change !== null) expect(rest).toEqual([{ type: "change", id: plan.change.id }]);
      else if (fault === "slow-dependency") expect(rest).toEqual([{ type: "dependency", id: `${name(plan.target.caller!)}>${victim}` }]);
      else expect(rest).toEqual([]);
    }
  });

  it("names a change for the faults that come with one, and for no other", () => {
    expect(faultNames.filter((name) => faultTable[name].change !== null)).toEqual(["exception-deploy", "bad-flag"]);
    expect(cases.every(({ fault, plan }) => (plan.change === null) === (faultTable[fault].change === null))).toBe(true);
    expect(cases.every(({ plan }) => plan.change === null || plan.change.service === plan.target.service)).toBe(true);
  });
});
