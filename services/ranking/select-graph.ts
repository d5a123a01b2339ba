/** The part of the dependency graph around the symptoms, as the ranker wants it. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { SnapshotDependency, SnapshotEntity } from "../../contract/evidence.ts";
import type { GraphView } from "../../contract/port.ts";

/** Entities of one snapshot, nearest to the symptoms first. */
export const entitiesMax = 200;
/** A dependency that was first seen in the fault or this many windows before it is new; one seen earlier was there all along. */
const newWindows = 10;

export interface SelectedGraph {
  /** Sorted by id. */
  readonly entities: readonly Entity[];
  readonly dependencies: readonly Dependency[];
  /** Entities that are reachable and did not fit. */
  readonly left: number;
  /** The dependency that a caller reaches at an address, or null. */
  dependencyAt(caller: string, address: string): Dependency | null;
}

/** Both views together, cut to what lies around the symptoms, whichever way the calls go. */
export function selectGraph(views: readonly GraphView[], symptoms: readonly string[]): SelectedGraph {
  const entities = new Map(views.flatMap((view) => view.entities).map((entity) => [entity.id, entity]));
  const dependencies = new Map(views.flatMap((view) => view.dependencies).map((dependency) => [dependency.id, dependency]));
  const reached = around(symptoms, [...dependencies.values()]).filter((id) => entities.has(id));
  const selected = new Set(reached.slice(0, entitiesMax));
  const inside = [...dependencies.values()].filter(({ source, target }) => selected.has(source) && selected.has(target));
  const byAddress = new Map<string, Dependency>();
  for (const dependency of sortedBy(inside, ({ id }) => id).reverse()) {
    for (const address of dependency.addresses) byAddress.set(JSON.stringify([dependency.source, address]), dependency);
  }
  return {
    entities: sortedBy(
      [...selected].flatMap((id) => entities.get(id) ?? []),
      ({ id }) => id,
    ),
    dependencies: sortedBy(inside, ({ id }) => id),
    left: Math.max(0, reached.length - entitiesMax),
    dependencyAt: (caller, address) => byAddress.get(JSON.stringify([caller, address])) ?? null,
  };
}

/** Ids by hops from the starts, then by id. */
function around(starts: readonly string[], dependencies: readonly Dependency[]): string[] {
  const neighbours = new Map<string, string[]>();
  const link = (from: string, to: string): void => {
    const list = neighbours.get(from);
    if (list === undefined) neighbours.set(from, [to]);
    else list.push(to);
  };
  for (const { source, target } of dependencies) {
    link(source, target);
    link(target, source);
  }
  let frontier = [...new Set(starts)].sort(compareCodeUnits);
  const reached = new Set(frontier);
  while (frontier.length > 0) {
    const next = new Set(frontier.flatMap((id) => neighbours.get(id) ?? []).filter((id) => !reached.has(id)));
    frontier = [...next].sort(compareCodeUnits);
    for (const id of frontier) reached.add(id);
  }
  return [...reached];
}

export function snapshotEntity({ id, type, alias, host, zone, entry }: Entity): SnapshotEntity {
  return { id, type, alias, host, zone, entry };
}

export function snapshotDependency(dependency: Dependency, options: { onsetMs: number; windowMs: number }): SnapshotDependency {
  const { id, source, target, protocol, validFromMs, validToMs, confidence } = dependency;
  const isNew = validFromMs >= options.onsetMs - newWindows * options.windowMs;
  return { id, source, target, protocol, validFromMs: isNew ? validFromMs : null, validToMs, confidence };
}
