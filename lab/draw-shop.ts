/** Draws a shop from a seed: who there is, who calls whom, how long things take, how much comes in. */
import { faultNames, targetsOf } from "./fault/fault.ts";
import { faultTable } from "./fault/table.ts";
import { Random, seedFrom } from "./random.ts";
import { reachMin, reachOfService, requestsPerSecondOf } from "./reach.ts";
import type { CallSpec, OperationSpec, ServiceSpec, ShopSpec } from "./spec.ts";

export interface DrawShopOptions {
  readonly seed: number;
  readonly namespace: string | null;
}

/** Requests that all services together may serve per second: two cores play the whole shop and Headwater beside it. */
const requestsPerSecondMax = 150;
const attemptsMax = 500;
/** Services that each fault must be able to hit. */
const victimsMin = 3;
const journalsMax = 3;

const names =
  "account address alert auction badge basket billing catalog checkout coupon courier currency customer delivery depot discount dispatch gift image invoice item label ledger loyalty menu notice offer order parcel partner payment photo picking pricing profile promo quota rating receipt recipe region refund return review reward route sales search seller session shelf shipping stock store supply tariff tax ticket token vendor visit voucher wallet wish".split(
    " ",
  );
const flagWords =
  "batch compact eager fresh grouped inline lean merged nested paged pinned quick rounded sorted split strict trimmed unified".split(" ");

interface Draft {
  readonly name: string;
  readonly layer: number;
  /** Almost nobody gets there. */
  readonly side: boolean;
  readonly calls: { callee: string; probability: number; need: "required" | "optional"; in: "both" | "second" }[];
}

/** A shop of 6 to 12 services in which every fault can hit at least three of them, the same for the same seed. */
export function drawShop(options: DrawShopOptions): ShopSpec {
  const random = new Random(seedFrom("shop", options.seed));
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const shop = attemptShop(random, options);
    if (isPlayable(shop)) return withJournals(shop);
  }
  throw new RangeError(`no playable shop after ${attemptsMax} attempts from seed ${options.seed}`);
}

/** Some of those that most requests get to keep a journal; from a stream of its own, so that a seed keeps its shop. */
function withJournals(shop: ShopSpec): ShopSpec {
  const much = shop.services.filter(({ name }) => reachOfService(shop, name).share >= reachMin).map(({ name }) => name);
  const kept = new Set(new Random(seedFrom("journal", shop.seed)).shuffled(much).slice(0, journalsMax));
  return { ...shop, services: shop.services.map((service) => (kept.has(service.name) ? { ...service, journal: "kept" } : service)) };
}

function isPlayable(shop: ShopSpec): boolean {
  if (requestsPerSecondOf(shop) > requestsPerSecondMax) return false;
  return faultNames.every((name) => new Set(targetsOf(shop, faultTable[name]).map((target) => target.service)).size >= victimsMin);
}

function attemptShop(random: Random, options: DrawShopOptions): ShopSpec {
  const count = random.integer(6, 12);
  const entryCount = random.integer(1, count >= 9 ? 3 : 2);
  const drafts = draftServices(random, { count, entryCount });
  connect(random, drafts);
  const hosts = Array.from({ length: 3 }, () => `node-${random.hex(6)}`);
  const layerMax = Math.max(...drafts.map((draft) => draft.layer));
  const stored = new Set(
    random.shuffled(drafts.filter((draft) => !draft.side)).slice(0, Math.max(4, Math.round(count * random.between(0.4, 0.6)))),
  );
  const plans = drafts.map((draft) => planOf(random, { draft, layerMax, database: stored.has(draft), cache: random.chance(0.45) }));
  const routes = new Map(plans.map((plan) => [plan.draft.name, plan]));
  return {
    seed: options.seed,
    namespace: options.namespace,
    hosts,
    services: plans.map((plan) => serviceFrom(random, plan, { hosts, routes })),
    entries: drafts
      .filter((draft) => draft.layer === 0)
      .map((draft) => ({ service: draft.name, requestsPerSecond: Math.round(random.between(8, 15) * 10) / 10 })),
  };
}

function draftServices(random: Random, options: { count: number; entryCount: number }): Draft[] {
  const chosen = random.shuffled(names).slice(0, options.count);
  const layers = options.count >= 9 ? random.integer(2, 4) : random.integer(2, 3);
  const sideMax = Math.floor((options.count - options.entryCount) / 4);
  let sides = 0;
  return chosen.map((name, index) => {
    const place = index - options.entryCount;
    if (place < 0) return { name, layer: 0, side: false, calls: [] };
    // The first ones fill each layer once, so that no layer is empty.
    const layer = place < layers ? place + 1 : random.integer(1, layers);
    const side = place >= layers && sides < sideMax && random.chance(0.35);
    if (side) sides += 1;
    return { name, layer, side, calls: [] };
  });
}

/** Gives every inner service a caller in a layer above, then adds a few more calls; all lead downwards, so there is no circle. */
function connect(random: Random, drafts: readonly Draft[]): void {
  const callsMax = 4;
  for (const draft of drafts.filter((other) => other.layer > 0)) {
    const all = drafts.filter((other) => other.layer < draft.layer && !other.side);
    const free = all.filter((other) => other.calls.length < callsMax);
    const above = free.length > 0 ? free : all;
    const near = above.filter((other) => other.layer === draft.layer - 1);
    const caller = random.pick(near.length > 0 && random.chance(0.8) ? near : above);
    const probability = draft.side ? random.between(0.1, 0.4) : random.pick([1, 1, 1, 0.95]);
    caller.calls.push({ callee: draft.name, probability, need: "required", in: draft.side ? "second" : "both" });
  }
  for (const entry of drafts.filter((other) => other.layer === 0 && other.calls.length === 0)) {
    const callee = random.pick(drafts.filter((other) => other.layer > 0 && !other.side));
    entry.calls.push({ callee: callee.name, probability: 1, need: "required", in: "both" });
  }
  const extra = random.integer(0, Math.floor(drafts.length / 3));
  for (let index = 0; index < extra; index += 1) {
    const caller = random.pick(drafts);
    const below = drafts.filter((other) => other.layer > caller.layer && !caller.calls.some((call) => call.callee === other.name));
    if (below.length === 0 || caller.calls.length >= callsMax) continue;
    const optional = random.chance(0.3);
    const probability = optional ? random.between(0.05, 0.2) : random.between(0.3, 1);
    caller.calls.push({ callee: random.pick(below).name, probability, need: optional ? "optional" : "required", in: "second" });
  }
}

interface Plan {
  readonly draft: Draft;
  readonly layerMax: number;
  readonly database: boolean;
  readonly cache: boolean;
  readonly operations: readonly { name: string; method: "GET" | "POST"; route: string }[];
}

function planOf(random: Random, options: Omit<Plan, "operations">): Plan {
  const words = random.shuffled(names.filter((name) => name !== options.draft.name));
  const reading = { method: "GET", route: `/${words[0]}/{id}` } as const;
  const writing = { method: "POST", route: `/${words[1]}/{id}` } as const;
  const chosen = random.chance(0.7) ? [reading, writing] : [random.pick([reading, writing])];
  return { ...options, operations: chosen.map((operation) => ({ name: `${operation.method} ${operation.route}`, ...operation })) };
}

function serviceFrom(random: Random, plan: Plan, shop: { hosts: readonly string[]; routes: ReadonlyMap<string, Plan> }): ServiceSpec {
  return {
    name: plan.draft.name,
    version: `${random.integer(1, 4)}.${random.integer(0, 20)}.${random.integer(0, 9)}`,
    host: random.pick(shop.hosts),
    layer: plan.draft.layer,
    operations: plan.operations.map((operation, index) => ({
      ...operation,
      weight: index === 0 ? random.between(0.5, 0.8) : random.between(0.2, 0.5),
      workMs: Math.round(random.between(2, 15) * 10) / 10,
      cpuMs: Math.round(random.between(0.1, 0.4) * 100) / 100,
      cache: plan.cache && operation.method === "GET" ? "read" : "none",
      database: databaseOf(plan, operation.method),
      calls: callsOf(random, plan, { last: index === plan.operations.length - 1, routes: shop.routes }),
      order: random.chance(0.35) ? "parallel" : "sequential",
    })),
    poolMax: plan.database ? random.integer(3, 5) : null,
    journal: "none",
    flags: random
      .shuffled(flagWords)
      .slice(0, 3)
      .map((word) => `${word}-${random.pick(names)}`),
  };
}

function databaseOf(plan: Plan, method: "GET" | "POST"): OperationSpec["database"] {
  if (!plan.database) return "none";
  return method === "GET" ? "read" : "write";
}

function callsOf(random: Random, plan: Plan, options: { last: boolean; routes: ReadonlyMap<string, Plan> }): CallSpec[] {
  return plan.draft.calls
    .filter((call) => call.in === "both" || options.last)
    .map((call) => {
      const operations = options.routes.get(call.callee)?.operations ?? [];
      return {
        callee: call.callee,
        operation: random.pick(operations).name,
        probability: Math.round(call.probability * 100) / 100,
        need: call.need,
        // A caller higher up waits longer, so that the one next to the trouble gives up first.
        timeoutMs: 1_500 + 300 * Math.max(0, plan.layerMax - 1 - plan.draft.layer),
        retriesMax: random.chance(0.3) ? 1 : 0,
      };
    });
}
