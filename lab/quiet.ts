/** A time in which nothing is wrong: the load changes, and harmless changes are made. */
import { drawChange } from "./change-event.ts";
import { Random, seedFrom } from "./random.ts";
import { enactOrSay, type Stage } from "./run-cycle.ts";
import { sleepUntil } from "./sleep.ts";

const stepMs = { min: 15_000, max: 40_000 };
/** On top of the daily shape. */
const loadFactor = { min: 0.7, max: 1.25 };

/** Resolves when the minutes are over. Rejects when stopped. */
export async function runQuiet(stage: Stage, minutes: number): Promise<void> {
  const { shop, load } = stage;
  const random = new Random(seedFrom("quiet", shop.spec.seed, minutes));
  const endMs = Date.now() + minutes * 60_000;
  while (Date.now() < endMs) {
    await sleepUntil(Math.min(endMs, Date.now() + random.between(stepMs.min, stepMs.max)), stage.signal);
    load.factor = random.between(loadFactor.min, loadFactor.max);
    if (Date.now() >= endMs) break;
    const service = random.pick(shop.spec.services).name;
    await enactOrSay(stage, drawChange(random, shop.spec, { service, kind: random.pick(["deploy", "flag", "config"] as const) }));
  }
  load.factor = 1;
}
