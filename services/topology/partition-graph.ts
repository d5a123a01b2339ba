/** Entities and dependencies as one partition of the dependency log knows them, and what of them the graph has not been told yet. */
import { sortedBy } from "../../contract/canonical.ts";
import { type Dependency, dependencyId, type Entity, type EntityType, idLengthMax } from "../../contract/entity.ts";
import type { EntityObservation } from "../../contract/window.ts";
import { ownType } from "./peer.ts";

const entitiesMax = 20_000;
const dependenciesMax = 50_000;
const addressesMax = 16;
/** A newer last-seen alone is told this often. */
const refreshMs = 10_000;

interface Kept<T> {
  value: T;
  /** `lastSeenMs` as the graph knows it; null: not told yet. */
  toldMs: number | null;
  isChanged: boolean;
}

export interface StoredGraph {
  readonly entities: readonly Kept<Entity>[];
  readonly dependencies: readonly Kept<Dependency>[];
}

/** One sight of a call. */
interface DependencySight {
  readonly source: string;
  readonly target: string;
  readonly protocol: string;
  /** Under which the caller reached the callee; null where it did not say. */
  readonly address: string | null;
  readonly atMs: number;
  readonly confidence: number;
  readonly learnedFrom: "spans" | "kernel";
}

export class PartitionGraph {
  readonly #lastSeenMs: Map<string, number>;
  readonly #onDropped: (what: "entity" | "dependency") => void;
  readonly #entities = new Map<string, Kept<Entity>>();
  readonly #dependencies = new Map<string, Kept<Dependency>>();
  #ended: Dependency[] = [];

  /** `lastSeenMs`: when any partition saw a dependency last, by id; shared by all of this process. */
  constructor(options: { lastSeenMs: Map<string, number>; onDropped: (what: "entity" | "dependency") => void }) {
    this.#lastSeenMs = options.lastSeenMs;
    this.#onDropped = options.onDropped;
  }

  /** What a resource said of itself; the newest version, host and zone count. */
  observe({ entity, namespace, name, version, host, zone, atMs, type }: EntityObservation): void {
    const kept = this.#entity(entity, { type: type ?? ownType(entity), namespace, name, atMs });
    if (kept === null) return;
    const { value } = kept;
    const isNewest = atMs >= value.lastSeenMs;
    if (isNewest && version !== null && version !== value.version) kept.isChanged = true;
    const newest = isNewest
      ? { namespace, name, version: version ?? value.version, host: host ?? value.host, zone: zone ?? value.zone }
      : {};
    kept.value = { ...value, ...newest };
    sight(kept, atMs);
  }

  /** The entity took part in a call. */
  touch(id: string, type: EntityType, atMs: number): void {
    const slash = type === "service" ? id.indexOf("/") : -1;
    const name = slash > 0 && slash < id.length - 1 ? id.slice(slash + 1) : id;
    const kept = this.#entity(id, { type, namespace: slash > 0 && name !== id ? id.slice(0, slash) : null, name, atMs });
    if (kept !== null) sight(kept, atMs);
  }

  /** The entity receives requests whose caller is none of ours. */
  markEntry(id: string): void {
    const kept = this.#entities.get(id);
    if (kept === undefined || kept.value.entry) return;
    kept.value = { ...kept.value, entry: true };
    kept.isChanged = true;
  }

  isEntry(id: string): boolean {
    return this.#entities.get(id)?.value.entry ?? false;
  }

  /** Whether this peer is a node of its own here, that is, nobody was found behind it. */
  hasNode(id: string): boolean {
    return this.#entities.has(id);
  }

  sight(seen: DependencySight): void {
    const id = dependencyId(seen.source, seen.target);
    const kept = this.#dependencies.get(id) ?? this.#newDependency(id, seen);
    if (kept === null) return;
    this.#noteLastSeen(id, seen.atMs);
    const { value } = kept;
    const address = seen.address !== null && seen.address.length <= idLengthMax ? seen.address : null;
    const isNew = address !== null && !value.addresses.includes(address) && value.addresses.length < addressesMax;
    const isNewest = seen.atMs >= value.lastSeenMs && seen.protocol !== "unknown";
    const protocol = value.protocol === "unknown" || isNewest ? seen.protocol : value.protocol;
    // What a program tells of its calls counts more than what is seen of them from below.
    const learnedFrom = value.learnedFrom === "kernel" ? seen.learnedFrom : value.learnedFrom;
    const isOther = protocol !== value.protocol || learnedFrom !== value.learnedFrom;
    if (isNew || isOther || seen.confidence > value.confidence) kept.isChanged = true;
    kept.value = {
      ...value,
      protocol,
      learnedFrom,
      lastSeenMs: Math.max(value.lastSeenMs, seen.atMs),
      confidence: Math.max(value.confidence, seen.confidence),
      addresses: isNew && address !== null ? sortedBy([...value.addresses, address], (item) => item) : value.addresses,
    };
  }

  /** Goes on with a dependency that the graph has of this partition. Those of one id are given in order of their begin. */
  takeUp(dependency: Dependency): void {
    const { id, validFromMs, lastSeenMs } = dependency;
    // Begun anew while the first was open: known only of a partition that had to go on without its checkpoint.
    if (this.#dependencies.has(id)) this.end(id, validFromMs);
    if (this.#dependencies.size >= dependenciesMax) {
      this.#onDropped("dependency");
      return;
    }
    this.#dependencies.set(id, { value: dependency, toldMs: lastSeenMs, isChanged: false });
    this.#noteLastSeen(id, lastSeenMs);
  }

  /** Ids of dependencies on this entity. */
  dependenciesOn(target: string): string[] {
    return [...this.#dependencies].flatMap(([id, { value }]) => (value.target === target ? [id] : []));
  }

  /** The dependency is over; when it is seen again it begins anew. */
  end(id: string, validToMs: number): void {
    const kept = this.#dependencies.get(id);
    if (kept === undefined) return;
    this.#ended.push({ ...kept.value, validToMs, lastSeenMs: validToMs });
    this.#dependencies.delete(id);
  }

  /** What the graph has to be told now, sorted by id. */
  drain(): { entities: Entity[]; dependencies: Dependency[] } {
    const entities = dueOf(this.#entities.values());
    const dependencies = [...this.#ended, ...dueOf(this.#dependencies.values())];
    this.#ended = [];
    return { entities: sortedBy(entities, ({ id }) => id), dependencies: sortedBy(dependencies, ({ id }) => id) };
  }

  toJSON(): StoredGraph {
    return {
      entities: sortedBy(this.#entities.values(), ({ value }) => value.id),
      dependencies: sortedBy(this.#dependencies.values(), ({ value }) => value.id),
    };
  }

  restore(stored: StoredGraph): void {
    for (const kept of stored.entities) this.#entities.set(kept.value.id, { ...kept });
    for (const kept of stored.dependencies) {
      this.#dependencies.set(kept.value.id, { ...kept });
      this.#noteLastSeen(kept.value.id, kept.value.lastSeenMs);
    }
  }

  #entity(id: string, of: { type: EntityType; namespace: string | null; name: string; atMs: number }): Kept<Entity> | null {
    const known = this.#entities.get(id);
    if (known !== undefined) return known;
    if (this.#entities.size >= entitiesMax) {
      this.#onDropped("entity");
      return null;
    }
    const { atMs, ...named } = of;
    const unknown = { version: null, host: null, zone: null, alias: null, entry: false };
    const kept = { value: { id, ...named, ...unknown, firstSeenMs: atMs, lastSeenMs: atMs }, toldMs: null, isChanged: true };
    this.#entities.set(id, kept);
    return kept;
  }

  #newDependency(id: string, seen: DependencySight): Kept<Dependency> | null {
    if (this.#dependencies.size >= dependenciesMax) {
      this.#onDropped("dependency");
      return null;
    }
    const { source, target, protocol, atMs, confidence, learnedFrom } = seen;
    const valid = { validFromMs: atMs, validToMs: null, lastSeenMs: atMs };
    const value: Dependency = { id, source, target, protocol, ...valid, learnedFrom, confidence, addresses: [] };
    const kept = { value, toldMs: null, isChanged: true };
    this.#dependencies.set(id, kept);
    return kept;
  }

  #noteLastSeen(id: string, atMs: number): void {
    this.#lastSeenMs.set(id, Math.max(this.#lastSeenMs.get(id) ?? atMs, atMs));
  }
}

function sight(kept: Kept<Entity>, atMs: number): void {
  const { firstSeenMs, lastSeenMs } = kept.value;
  if (atMs < firstSeenMs) kept.isChanged = true;
  kept.value = { ...kept.value, firstSeenMs: Math.min(firstSeenMs, atMs), lastSeenMs: Math.max(lastSeenMs, atMs) };
}

/** Those that changed, or whose last-seen has moved on by `refreshMs`; they count as told. */
function dueOf<T extends { readonly lastSeenMs: number }>(all: Iterable<Kept<T>>): T[] {
  const due: T[] = [];
  for (const kept of all) {
    if (!kept.isChanged && kept.toldMs !== null && kept.value.lastSeenMs - kept.toldMs < refreshMs) continue;
    kept.isChanged = false;
    kept.toldMs = kept.value.lastSeenMs;
    due.push(kept.value);
  }
  return due;
}
