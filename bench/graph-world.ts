/** A made-up world of services and calls for the graph's benchmark, the same for the same size. */
import type { Dependency, Entity } from "../contract/entity.ts";
import { dependencyId } from "../contract/entity.ts";
import type { GraphDelta } from "../contract/port.ts";
import { Random } from "../lab/random.ts";

export interface GraphWorld {
  readonly entities: readonly Entity[];
  readonly dependencies: readonly Dependency[];
}

/** When everything begins, and when what is new is new: a diff between the two names what is new. */
export const begunMs = 1_700_000_000_000;
export const changedMs = begunMs + 3_600_000;
/** Of the dependencies, this share begins later. */
const newShare = 0.01;
/** A shop of its own within the world: few services that call nobody outside. */
export const shopSize = 30;
const shopCalls = 60;

/** Services call those of a lower number mostly, as layers do, and some are called by many. The first `shopSize` are a world of their own. */
export function makeWorld(options: { services: number; dependencies: number }): GraphWorld {
  const random = new Random(1);
  const entities = Array.from({ length: options.services }, (_, number) => service(number));
  const calls = new Map<string, Dependency>();
  const add = (source: number, target: number): void => {
    if (source === target) return;
    const validFromMs = source >= shopSize && random.chance(newShare) ? changedMs - 60_000 : begunMs;
    const one = call(serviceId(source), serviceId(target), validFromMs);
    if (!calls.has(one.id)) calls.set(one.id, one);
  };
  while (calls.size < Math.min(shopCalls, options.dependencies)) add(random.integer(0, shopSize - 1), random.integer(0, shopSize - 1));
  while (calls.size < options.dependencies) {
    const source = random.integer(shopSize, options.services - 1);
    // The square makes low numbers popular.
    add(source, shopSize + Math.floor(random.next() * random.next() * (options.services - shopSize)));
  }
  return { entities, dependencies: [...calls.values()] };
}

export function serviceId(number: number): string {
  return `shop/service-${String(number).padStart(5, "0")}`;
}

/** The world as topology would tell it: every partition its part, a tenth of it at a time; `lastSeenMs` is when everything was seen last. */
export function deltasOf(world: GraphWorld, lastSeenMs: number): GraphDelta[] {
  const pieces = 160;
  const piece = <T>(items: readonly T[], index: number): T[] => items.filter((_, number) => number % pieces === index);
  return Array.from({ length: pieces }, (_, index) => ({
    partition: index % 16,
    completeThroughMs: lastSeenMs,
    entities: piece(world.entities, index).map((entity) => ({ ...entity, lastSeenMs })),
    dependencies: piece(world.dependencies, index).map((dependency) => ({ ...dependency, lastSeenMs })),
  }));
}

function service(number: number): Entity {
  const id = serviceId(number);
  const place = { namespace: "shop", name: id.slice(5), version: "1.4.2", host: `host-${number % 400}`, zone: `zone-${number % 3}` };
  return { id, type: "service", ...place, alias: null, entry: number % 100 === 0, firstSeenMs: begunMs, lastSeenMs: begunMs };
}

function call(source: string, target: string, validFromMs: number): Dependency {
  const times = { validFromMs, validToMs: null, lastSeenMs: validFromMs };
  const id = dependencyId(source, target);
  return { id, source, target, protocol: "http", ...times, learnedFrom: "spans", confidence: 1, addresses: [`${target.slice(5)}:80`] };
}
