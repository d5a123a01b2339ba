/** Intervals by the dependency that they are of, over all partitions. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Dependency } from "../../contract/entity.ts";
import { covers, dependencyAt, dependencyWithEnd, intervalKey, type KeptInterval, mergeInterval } from "../merge/interval.ts";

export class DependencyTable {
  /** Id → `<partition>/<validFromMs>` → interval. */
  #intervals = new Map<string, Map<string, KeptInterval>>();
  /** Entity → ids of the dependencies that begin or end at it. */
  #byEntity = new Map<string, Set<string>>();
  #size = 0;
  #dependenciesMax: number;
  #onCounted: (name: string, amount: number) => void;

  /** Intervals kept at most, over all partitions; at the bound the least recently seen hundredth is forgotten. */
  constructor(options: { dependenciesMax: number; onCounted: (name: string, amount: number) => void }) {
    this.#dependenciesMax = options.dependenciesMax;
    this.#onCounted = options.onCounted;
  }

  merge(partition: number, dependency: Dependency): void {
    const key = intervalKey(partition, dependency);
    let intervals = this.#intervals.get(dependency.id);
    const known = intervals?.get(key);
    if (known === undefined && this.#size >= this.#dependenciesMax) {
      this.#forgetOldest();
      intervals = this.#intervals.get(dependency.id);
    }
    if (intervals === undefined) {
      intervals = new Map();
      this.#intervals.set(dependency.id, intervals);
      this.#link(dependency.source, dependency.id);
      this.#link(dependency.target, dependency.id);
    }
    if (known === undefined) this.#size += 1;
    intervals.set(key, mergeInterval(known, { partition, dependency }));
  }

  *all(): Iterable<KeptInterval> {
    for (const intervals of this.#intervals.values()) yield* intervals.values();
  }

  /** Dependencies valid at a moment, as they were known to be then, sorted by id. */
  asOf(atMs: number): Dependency[] {
    const valid: Dependency[] = [];
    for (const intervals of this.#intervals.values()) {
      const found = dependencyAt(intervals.values(), atMs);
      if (found !== null) valid.push(found);
    }
    return valid.sort((left, right) => compareCodeUnits(left.id, right.id));
  }

  /** Dependencies of an entity, as caller or callee, that are valid at a moment; only their ends are told. */
  callsOf(entity: string, atMs: number): { source: string; target: string }[] {
    const calls: { source: string; target: string }[] = [];
    for (const id of this.#byEntity.get(entity) ?? []) {
      for (const { dependency } of this.#intervals.get(id)?.values() ?? []) {
        if (!covers(dependency, atMs)) continue;
        calls.push(dependency);
        break;
      }
    }
    return calls;
  }

  /** Dependencies among these entities that are valid at a moment, as they were known to be then, sorted by id. */
  among(entities: ReadonlySet<string>, atMs: number): Dependency[] {
    const valid: Dependency[] = [];
    for (const entity of entities) {
      for (const id of this.#byEntity.get(entity) ?? []) {
        const found = dependencyAt(this.#intervals.get(id)?.values() ?? [], atMs);
        if (found !== null && found.source === entity && entities.has(found.target)) valid.push(found);
      }
    }
    return valid.sort((left, right) => compareCodeUnits(left.id, right.id));
  }

  /** The interval of `id` that covered `fromMs`, as it was known at `toMs`, with its end; null when there is none. */
  endOf(id: string, fromMs: number, toMs: number): Dependency | null {
    return dependencyWithEnd(this.#intervals.get(id)?.values() ?? [], fromMs, toMs);
  }

  #forgetOldest(): void {
    const oldest = [...this.all()]
      .sort(({ dependency: left }, { dependency: right }) => left.lastSeenMs - right.lastSeenMs || compareCodeUnits(left.id, right.id))
      .slice(0, Math.ceil(this.#dependenciesMax / 100));
    for (const { partition, dependency } of oldest) {
      const intervals = this.#intervals.get(dependency.id);
      intervals?.delete(intervalKey(partition, dependency));
      if (intervals?.size !== 0) continue;
      this.#intervals.delete(dependency.id);
      this.#unlink(dependency.source, dependency.id);
      this.#unlink(dependency.target, dependency.id);
    }
    this.#size -= oldest.length;
    this.#onCounted("graph_dependencies_forgotten", oldest.length);
  }
  #link(entity: string, id: string): void {
    const ids = this.#byEntity.get(entity);
    if (ids === undefined) this.#byEntity.set(entity, new Set([id]));
    else ids.add(id);
  }

  #unlink(entity: string, id: string): void {
    const ids = this.#byEntity.get(entity);
    ids?.delete(id);
    if (ids?.size === 0) this.#byEntity.delete(entity);
  }
}
