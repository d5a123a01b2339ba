/** The part of the dependency graph around the symptoms, as the ranker wants it. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import { type Dependency, type Entity, hostEntityId } from "../../contract/entity.ts";
import type { SnapshotDependency, SnapshotEntity } from "../../contract/evidence.ts";
import type { GraphPart, GraphStore, GraphView } from "../../contract/port.ts";

/** Entities of one snapshot, nearest to the symptoms first. */
export const entitiesMax = 200;
/** Hosts of those, as far as they tell of themselves. */
const hostsMax = 50;
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
  /** As above, also where only the caller knows what kind of system it is that listens there. */
  dependencyReached(caller: string, address: string): Dependency | null;
}

/** Looks at the graph until nothing more is found by going from one moment's dependencies to the other's. */
const looksMax = 8;

/**
 * What lies around the symptoms by the dependencies of both moments, whichever way the calls go. What was reached at one moment is a start
 * at the other: a way may lead along a dependency that had ended and one that had not begun.
 */
export async function readGraph(
  graph: GraphStore,
  options: { onsetMs: number; askedMs: number; symptoms: readonly string[] },
): Promise<SelectedGraph> {
  const { onsetMs, askedMs, symptoms } = options;
  const look = (atMs: number, ids: Iterable<string>) => graph.neighbourhood({ atMs, ids: sortedBy(ids, (id) => id), entitiesMax });
  const reached = new Set(symptoms);
  const parts: [onset: GraphPart | null, asked: GraphPart | null] = [null, null];
  for (let count = 0; count < looksMax; count += 1) {
    const moment = count % 2 === 0 ? 0 : 1;
    const part = await look(moment === 0 ? onsetMs : askedMs, reached);
    if (part.left > 0) {
      // It is cut at its bound, so what is kept has to be nearest to the symptoms and to nothing else.
      const near = [await look(onsetMs, symptoms), await look(askedMs, symptoms)];
      return await withHosts(selectGraph(near, symptoms), { graph, askedMs });
    }
    parts[moment] = part;
    const before = reached.size;
    for (const { id } of part.entities) reached.add(id);
    if (count > 0 && reached.size === before) break;
  }
  const selected = selectGraph(
    parts.flatMap((part) => part ?? []),
    symptoms,
  );
  return await withHosts(selected, { graph, askedMs });
}

/** Adds the hosts on which the selected are: no call leads to a host. */
async function withHosts(selected: SelectedGraph, from: { graph: GraphStore; askedMs: number }): Promise<SelectedGraph> {
  const named = new Set(selected.entities.flatMap(({ host }) => (host === null ? [] : [hostEntityId(host)])));
  if (named.size === 0) return selected;
  const ids = sortedBy(named, (id) => id).slice(0, hostsMax);
  const part = await from.graph.neighbourhood({ atMs: from.askedMs, ids, entitiesMax: hostsMax });
  const hosts = part.entities.filter(({ type, id }) => type === "host" && named.has(id));
  const entities = new Map([...selected.entities, ...hosts].map((entity) => [entity.id, entity]));
  return { ...selected, entities: sortedBy(entities.values(), ({ id }) => id) };
}

/** All views together, cut to what lies around the symptoms, whichever way the calls go; `left` of a view is what it leaves out itself. */
export function selectGraph(views: readonly (GraphView & { readonly left?: number })[], symptoms: readonly string[]): SelectedGraph {
  const entities = new Map(views.flatMap((view) => view.entities).map((entity) => [entity.id, entity]));
  const dependencies = new Map(views.flatMap((view) => view.dependencies).map((dependency) => [dependency.id, dependency]));
  const reached = around(symptoms, [...dependencies.values()]).filter((id) => entities.has(id));
  const selected = new Set(reached.slice(0, entitiesMax));
  const inside = [...dependencies.values()].filter(({ source, target }) => selected.has(source) && selected.has(target));
  const byAddress = new Map<string, Dependency>();
  const byPlace = new Map<string, Dependency>();
  for (const dependency of sortedBy(inside, ({ id }) => id).reverse()) {
    for (const address of dependency.addresses) {
      byAddress.set(JSON.stringify([dependency.source, address]), dependency);
      byPlace.set(JSON.stringify([dependency.source, address.slice(address.indexOf("@") + 1)]), dependency);
    }
  }
  return {
    entities: sortedBy(
      [...selected].flatMap((id) => entities.get(id) ?? []),
      ({ id }) => id,
    ),
    dependencies: sortedBy(inside, ({ id }) => id),
    left:
      Math.max(reached.length, ...views.map(({ entities: some, left }) => (left === undefined ? 0 : some.length + left))) - selected.size,
    dependencyAt: (caller, address) => byAddress.get(JSON.stringify([caller, address])) ?? null,
    dependencyReached: (caller, address) => {
      const key = JSON.stringify([caller, address]);
      return byAddress.get(key) ?? byPlace.get(key) ?? null;
    },
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

/** `host` is the id of the host's entity where the host tells of itself, else its name. */
export function snapshotEntity({ id, type, alias, host, zone, entry }: Entity, graph: SelectedGraph): SnapshotEntity {
  const hostId = host === null ? null : hostEntityId(host);
  const isKnown = type !== "host" && graph.entities.some((other) => other.id === hostId && other.type === "host");
  return { id, type, alias, host: isKnown ? hostId : host, zone, entry };
}

export function snapshotDependency(dependency: Dependency, options: { onsetMs: number; windowMs: number }): SnapshotDependency {
  const { id, source, target, protocol, validFromMs, validToMs, confidence } = dependency;
  const isNew = validFromMs >= options.onsetMs - newWindows * options.windowMs;
  return { id, source, target, protocol, validFromMs: isNew ? validFromMs : null, validToMs, confidence };
}
