/** Entities by id, as merged from the deltas of all partitions. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Entity } from "../../contract/entity.ts";
import { entityAt, type KeptEntity, mergeEntity, newKeptEntity } from "../merge/kept-entity.ts";

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
    mergeEntity(this.#find(entity.id, entity), entity);
  }

  /** Takes over what a snapshot of an earlier process kept, before anything else is merged. */
  restore(saved: KeptEntity): void {
    this.#entities.set(saved.id, saved);
  }

  all(): IterableIterator<KeptEntity> {
    return this.#entities.values();
  }

  /** The entity as it was by then, or null when it had not been seen. */
  at(id: string, atMs: number): Entity | null {
    const kept = this.#entities.get(id);
    return kept === undefined || kept.firstSeenMs > atMs ? null : entityAt(kept, atMs);
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
    const kept = newKeptEntity(id, seen);
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
