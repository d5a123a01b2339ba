/** Plays a cycle on the running shop: decoys, the fault, its end, and the wait until all is well again. */
import { appendFileSync } from "node:fs";
import { enact, type PlannedChange, type TakeBack } from "./change-event.ts";
import type { CyclePlan } from "./draw-cycle.ts";
import { magnitudeOf } from "./fault/fault.ts";
import { faultTable } from "./fault/table.ts";
import { LabError, textOf } from "./lab-error.ts";
import type { Load } from "./load.ts";
import type { LabEvent } from "./protocol.ts";
import { nominalMs } from "./reach.ts";
import type { Shop } from "./shop.ts";
import { sleepUntil } from "./sleep.ts";
import { entityIdOf } from "./spec.ts";

const recoverWaitMs = 30_000;
/** All is well when this long nothing failed, with at least so many answers per entry. */
const healthyMs = 2_000;
const answersMin = 5;
const pollMs = 100;

/** What a cycle works with. */
export interface Stage {
  readonly shop: Shop;
  readonly load: Load;
  readonly changesUrl: string;
  /** Where the truth is appended, or null. */
  readonly truthFile: string | null;
  readonly emit: (event: LabEvent) => void;
  readonly signal: AbortSignal;
}

/** Resolves when the shop is well again. Rejects when stopped, or with LAB_FAILED when the shop does not obey. */
export async function runCycle(stage: Stage, plan: CyclePlan): Promise<void> {
  const startedMs = Date.now();
  const onsetMs = startedMs + plan.onsetAfterMs;
  const decoys = plan.decoys.map((decoy) => ({ atMs: startedMs + decoy.afterMs, change: decoy.change }));
  await playDecoys(
    stage,
    decoys.filter((decoy) => decoy.atMs < onsetMs),
  );
  await sleepUntil(onsetMs, stage.signal);
  const undo = await begin(stage, plan);
  await playDecoys(
    stage,
    decoys.filter((decoy) => decoy.atMs >= onsetMs),
  );
  await sleepUntil(undo.fromMs + plan.durationMs, stage.signal);
  await undo.end();
  await recover(stage, plan.cycle);
}

async function playDecoys(stage: Stage, decoys: readonly { atMs: number; change: PlannedChange }[]): Promise<void> {
  for (const decoy of decoys) {
    await sleepUntil(decoy.atMs, stage.signal);
    await enactOrSay(stage, decoy.change);
  }
}

/** A receiver that does not take a change is said aloud and is no reason to stop the shop. */
export async function enactOrSay(stage: Stage, change: PlannedChange): Promise<TakeBack> {
  try {
    return await enact(stage.shop, change, stage.changesUrl);
  } catch (error) {
    if (error instanceof LabError) throw error;
    stage.emit({ event: "progress", text: `a change event was not taken: ${textOf(error)}` });
    return async () => {};
  }
}

async function begin(stage: Stage, plan: CyclePlan): Promise<{ fromMs: number; end: () => Promise<void> }> {
  const { shop } = stage;
  const fault = faultTable[plan.fault];
  const usualP95Ms = stage.load.p95Ms(plan.entry);
  const entryP95Ms = Math.max(usualP95Ms, nominalMs(shop.spec, plan.entry));
  const range = fault.range({ entryP95Ms, variant: plan.variant });
  const magnitude = magnitudeOf(range, plan.severity);
  const fromMs = Date.now();
  const record = {
    cycle: plan.cycle,
    id: plan.id,
    seed: shop.spec.seed,
    fault: plan.fault,
    fromMs,
    toMs: null,
    magnitude: { value: magnitude, unit: range.unit, severity: plan.severity, variant: plan.variant },
    truth: fault.truth(shop.spec, plan.target, plan.change?.id ?? null),
    victim: entityIdOf(shop.spec, plan.target.service),
    entry: entityIdOf(shop.spec, plan.entry),
  };
  writeTruth(stage, record);
  stage.emit({ event: "fault-begins", cycle: plan.cycle, fault: plan.fault, atMs: fromMs });
  const takeBack = plan.change === null ? null : await enactOrSay(stage, plan.change);
  await fault.apply(shop, plan.target, { magnitude, variant: plan.variant });
  const end = async (): Promise<void> => {
    const toMs = Date.now();
    writeTruth(stage, { ...record, toMs });
    const felt = { ...stage.load.felt(plan.entry, fromMs), usualP95Ms: Math.round(usualP95Ms) };
    stage.emit({ event: "fault-ends", cycle: plan.cycle, atMs: toMs, felt });
    await fault.undo(shop, plan.target);
    await takeBack?.();
  };
  return { fromMs, end };
}

function writeTruth(stage: Stage, record: object): void {
  if (stage.truthFile !== null) appendFileSync(stage.truthFile, `${JSON.stringify(record)}\n`);
}

async function recover(stage: Stage, cycle: number): Promise<void> {
  const undoneMs = Date.now();
  const healthy = (): boolean => {
    const nowMs = Date.now();
    return nowMs - undoneMs >= healthyMs && stage.load.isHealthySince(nowMs - healthyMs, { answersMin });
  };
  while (!healthy() && Date.now() < undoneMs + recoverWaitMs) await sleepUntil(Date.now() + pollMs, stage.signal);
  stage.load.markHealthy();
  stage.emit({ event: "recovered", cycle, atMs: Date.now(), healthy: healthy() ? "yes" : "no" });
}
