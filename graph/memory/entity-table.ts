/** Entities as merged from the deltas of all partitions: earliest first seen, latest last seen, attributes with their history. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Entity } from "../../contract/entity.ts";
import { type AttributeHistory, observed, valueAt } from "./attribute-history.ts";

const attributeNames = ["type", "namespace", "name", "version", "host", "zone", "alias"] as const;
type AttributeName = (typeof attributeNames)[number];

/** An entity as it is kept and written to the snapshot. */
export interface KeptEntity {
  readonly id: string;
  firstSeenMs: number;
  lastSeenMs: number;
  /** From when on it is known to receive requests of outsiders; null = never seen to. */
  entrySinceMs: number | null;
  readonly attributes: Partial<Record<AttributeName, AttributeHistory>>;
}

export class EntityTable {
  #entities = new Map<string, KeptEntity>();
  #entitiesMax: number;
  #onCounted: (name: string, amount: number) => void;

  /** Entities kept at most; at the bound the least recently seen hundredth is forgotten. */
  constructor(options: { entitiesMax: number; onCounted: (name: string, amount: number) => void }) {
    this.#entitiesMax = options.entitiesMax;
    this.#onCounted = options.onCounted;
  }

  merge(entity: Entity): void {
    const kept = this.#find(entity.id, entity);
    kept.firstSeenMs = Math.min(kept.firstSeenMs, entity.firstSeenMs);
    kept.lastSeenMs = Math.max(kept.lastSeenMs, entity.lastSeenMs);
    // Partitions see different traces: that one of them saw no outsider says nothing.
    if (entity.entry) kept.entrySinceMs = Math.min(kept.entrySinceMs ?? entity.lastSeenMs, entity.lastSeenMs);
    for (const name of attributeNames) {
      const value = entity[name];
      if (value !== null) kept.attributes[name] = observed(kept.attributes[name] ?? [], entity.lastSeenMs, value);
    }
  }

  /** Takes over what a snapshot of an earlier process kept, before anything else is merged. */
  restore(saved: KeptEntity): void {
    this.#entities.set(saved.id, saved);
  }

  all(): IterableIterator<KeptEntity> {
    return this.#entities.values();
  }

  /** Entities seen by then, as they were then, sorted by id. */
  asOf(atMs: number): Entity[] {
    const seen = [...this.#entities.values()].filter((kept) => kept.firstSeenMs <= atMs);
    return seen.map((kept) => entityAt(kept, atMs)).sort((left, right) => compareCodeUnits(left.id, right.id));
  }

  #find(id: string, seen: { firstSeenMs: number; lastSeenMs: number }): KeptEntity {
    const known = this.#entities.get(id);
    if (known !== undefined) return known;
    if (this.#entities.size >= this.#entitiesMax) this.#forgetOldest();
    const kept: KeptEntity = { id, firstSeenMs: seen.firstSeenMs, lastSeenMs: seen.lastSeenMs, entrySinceMs: null, attributes: {} };
    this.#entities.set(id, kept);
    return kept;
  }

  #forgetOldest(): void {
    const oldest = [...this.#entities.values()]
      .sort((left, right) => left.lastSeenMs - right.lastSeenMs || compareCodeUnits(left.id, right.id))
      .slice(0, Math.ceil(this.#entitiesMax / 100));
    for (const kept of oldest) this.#entities.delete(kept.id);
    this.#onCounted("graph_entities_forgotten", oldest.length);
  }
}

function entityAt(kept: KeptEntity, atMs: number): Entity {
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
