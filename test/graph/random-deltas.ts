/** Deltas of a small world in which everything happens: calls that end and come back, late reports, changed attributes, several partitions. */
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { GraphDelta, Precedent } from "../../contract/port.ts";
import { aDependency, anEntity } from "../conformance/sample-messages.ts";

/** Numbers from 0 up to `below`, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export const worldEndsMs = 1_000;

export function randomDeltas(seed: number, options: { deltas: number; entities: number }): GraphDelta[] {
  const random = randomFrom(seed);
  const name = (): string => `e${random(options.entities)}`;
  const maybe = <T>(value: T): T | null => (random(3) === 0 ? value : null);

  function entity(): Entity {
    const seenMs = random(worldEndsMs);
    const named = { version: maybe(`v${random(3)}`), host: maybe(`h${random(3)}`), zone: maybe("z"), alias: maybe(name()) };
    const type = random(4) === 0 ? ("datastore" as const) : ("service" as const);
    return anEntity(name(), { seenMs, ...named, type, lastSeenMs: seenMs + random(100), entry: random(4) === 0 });
  }

  function dependency(): Dependency {
    // Few different beginnings, so that the same interval is reported again and again.
    const validFromMs = random(20) * 50;
    const lastSeenMs = validFromMs + random(120);
    const validToMs = random(2) === 0 ? null : lastSeenMs + random(3) * 25;
    const seen = { confidence: (1 + random(4)) / 4, protocol: `p${random(2)}`, addresses: [`a${random(5)}`, `b${random(5)}`].sort() };
    return aDependency(name(), name(), { validFromMs, validToMs, lastSeenMs, ...seen });
  }

  return Array.from({ length: options.deltas }, () => ({
    partition: random(16),
    completeThroughMs: random(worldEndsMs),
    entities: Array.from({ length: random(4) }, entity),
    dependencies: Array.from({ length: random(6) }, dependency),
  }));
}

export function randomPrecedents(seed: number, count: number): Precedent[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, () => ({
    incident: `i${random(count)}`,
    closedMs: random(worldEndsMs),
    cause: { type: "entity", id: `e${random(9)}`, kind: random(2) === 0 ? null : "cpu" },
    signature: Array.from({ length: random(6) }, () => `t${random(12)}`),
  }));
}
