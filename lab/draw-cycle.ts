/** Draws what happens in one cycle: what breaks, how badly, when, for how long, and which innocent changes are made around it. */
import { drawChange, type PlannedChange } from "./change-event.ts";
import { type FaultName, type FaultTarget, targetsOf } from "./fault/fault.ts";
import { faultTable } from "./fault/table.ts";
import { Random, seedFrom } from "./random.ts";
import { edgesOf, type ShopSpec } from "./spec.ts";

const onsetDelayMsMax = 6_000;
/** Innocent changes come at least this long before a fault that no change caused, at most that long. */
const decoyBeforeMs = { min: 5_000, max: 30_000 };

export interface Decoy {
  /** After the cycle's beginning. */
  readonly afterMs: number;
  readonly change: PlannedChange;
}

export interface CyclePlan {
  readonly id: string;
  readonly cycle: number;
  readonly fault: FaultName;
  readonly target: FaultTarget;
  /** The entry service that feels it most. */
  readonly entry: string;
  readonly variant: string;
  /** 0 mild to 1 severe. */
  readonly severity: number;
  /** After the cycle's beginning. */
  readonly onsetAfterMs: number;
  readonly durationMs: number;
  /** The change that brings the fault, or null. */
  readonly change: PlannedChange | null;
  /** In order of time. */
  readonly decoys: readonly Decoy[];
}

/** The same plan for the same shop, cycle, fault and settling time. */
export function drawCycle(shop: ShopSpec, options: { cycle: number; fault: FaultName; settleMs: number }): CyclePlan {
  const random = new Random(seedFrom("cycle", shop.seed, options.cycle, options.fault));
  const fault = faultTable[options.fault];
  const target = random.pick(targetsOf(shop, fault));
  const settledMs = options.settleMs + random.between(0, onsetDelayMsMax);
  // A decoy has to find room before the onset.
  const onsetAfterMs = Math.round(fault.change === null ? Math.max(settledMs, decoyBeforeMs.min + 500) : settledMs);
  const durationMs = Math.round(random.between(18_000, 20_000));
  const change = fault.change === null ? null : drawChange(random, shop, { service: target.service, kind: fault.change });
  const decoys: Decoy[] = [];
  if (change === null) {
    const before = random.between(decoyBeforeMs.min, Math.min(decoyBeforeMs.max, onsetAfterMs));
    decoys.push({ afterMs: Math.round(onsetAfterMs - before), change: drawDecoy(random, shop, { target, kind: "deploy" }) });
  }
  const further = random.integer(change === null ? 0 : 1, 2);
  for (let index = 0; index < further; index += 1) {
    const kind = random.pick(["deploy", "flag", "config"] as const);
    const afterMs = Math.round(random.between(0, onsetAfterMs + durationMs));
    decoys.push({ afterMs, change: drawDecoy(random, shop, { target, kind }) });
  }
  return {
    id: `shop-${shop.seed}-cycle-${options.cycle}`,
    cycle: options.cycle,
    fault: options.fault,
    target,
    entry: fault.needs(shop, target)?.entry ?? "",
    variant: random.pick(fault.variants),
    severity: Math.round(random.next() * 1_000) / 1_000,
    onsetAfterMs,
    durationMs,
    change,
    decoys: decoys.sort((left, right) => left.afterMs - right.afterMs),
  };
}

/** An innocent change of another service, every second time of one that calls the target or is called by it. */
function drawDecoy(random: Random, shop: ShopSpec, options: { target: FaultTarget; kind: PlannedChange["kind"] }): PlannedChange {
  const victim = options.target.service;
  const neighbours = edgesOf(shop).flatMap((edge) => {
    if (edge.caller === victim) return [edge.callee];
    return edge.callee === victim ? [edge.caller] : [];
  });
  const others = shop.services.map((service) => service.name).filter((name) => name !== victim);
  const service = random.pick(neighbours.length > 0 && random.chance(0.5) ? neighbours : others);
  return drawChange(random, shop, { service, kind: options.kind });
}
