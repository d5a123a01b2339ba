/** An entity as the graph keeps it, merged from the deltas of all partitions: earliest first seen, latest last seen, attributes with their history. */
import type { Entity } from "../../contract/entity.ts";
import { type AttributeHistory, observed, valueAt } from "./attribute-history.ts";

export const attributeNames = ["type", "namespace", "name", "version", "host", "zone", "alias"] as const;
type AttributeName = (typeof attributeNames)[number];

/** What is kept of an entity, also on disk. */
export interface KeptEntity {
  readonly id: string;
  firstSeenMs: number;
  lastSeenMs: number;
  /** From when on it is known to receive requests of outsiders; null = never seen to. */
  entrySinceMs: number | null;
  readonly attributes: Partial<Record<AttributeName, AttributeHistory>>;
}

/** An entity of which nothing is known but when it was seen. */
export function newKeptEntity(id: string, seen: { firstSeenMs: number; lastSeenMs: number }): KeptEntity {
  return { id, firstSeenMs: seen.firstSeenMs, lastSeenMs: seen.lastSeenMs, entrySinceMs: null, attributes: {} };
}

/** Adds what was seen of an entity to what is kept of it. The order in which sights come is of no matter. */
export function mergeEntity(kept: KeptEntity, entity: Entity): void {
  kept.firstSeenMs = Math.min(kept.firstSeenMs, entity.firstSeenMs);
  kept.lastSeenMs = Math.max(kept.lastSeenMs, entity.lastSeenMs);
  // Partitions see different traces: that one of them saw no outsider says nothing.
  if (entity.entry) kept.entrySinceMs = Math.min(kept.entrySinceMs ?? entity.lastSeenMs, entity.lastSeenMs);
  for (const name of attributeNames) {
    const value = entity[name];
    if (value !== null) kept.attributes[name] = observed(kept.attributes[name] ?? [], entity.lastSeenMs, value);
  }
}

/** The entity as it was known to be at a moment. */
export function entityAt(kept: KeptEntity, atMs: number): Entity {
  const value = (name: AttributeName) => valueAt(kept.attributes[name] ?? [], atMs);
  return {
    id: kept.id,
    type: (value("type") ?? "service") as Entity["type"],
    namespace: value("namespace"),
    name: value("name") ?? kept.id,
    version: value("version"),
    host: value("host"),
    zone: value("zone"),
    alias: value("alias"),
    entry: kept.entrySinceMs !== null && kept.entrySinceMs <= atMs,
    firstSeenMs: kept.firstSeenMs,
    lastSeenMs: Math.min(kept.lastSeenMs, atMs),
  };
}
