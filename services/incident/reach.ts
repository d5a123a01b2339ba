/** Which alerts and anomalies belong together, by the dependency graph. */
import { hostEntityId } from "../../contract/entity.ts";
import type { GraphView } from "../../contract/port.ts";
import { alertHopsMax, anomalyHopsMax } from "./timing.ts";

/** A graph view, indexed once per tick. */
export interface Reach {
  /** Ids of the entities that receive requests from outside. */
  readonly entries: ReadonlySet<string>;
  /** Whether an undirected path of at most `alertHopsMax` hops joins the two; sharing a callee is such a path. */
  connected(left: string, right: string): boolean;
  /** Entities that the given ones call, directly or through others, themselves, and the hosts that these are on. */
  downstream(entities: Iterable<string>): ReadonlySet<string>;
  /** Both ends of a dependency, or the entity itself. */
  ends(entityOrDependency: string): readonly string[];
}

export function reachOf(view: GraphView): Reach {
  const callees = new Map<string, string[]>();
  const either = new Map<string, string[]>();
  const ends = new Map<string, readonly string[]>();
  for (const { id, source, target } of view.dependencies) {
    push(callees, source, target);
    push(either, source, target);
    push(either, target, source);
    ends.set(id, [source, target]);
  }
  const hosts = hostsOf(view);
  return {
    entries: new Set(view.entities.filter((entity) => entity.entry).map((entity) => entity.id)),
    connected: (left, right) => within(either, { from: [left], hopsMax: alertHopsMax }).has(right),
    downstream: (entities) => withHosts(within(callees, { from: [...entities], hopsMax: anomalyHopsMax }), hosts),
    ends: (id) => ends.get(id) ?? [id],
  };
}

/** The host of each entity that is on one that tells of itself. */
function hostsOf(view: GraphView): ReadonlyMap<string, string> {
  const known = new Set(view.entities.flatMap(({ id, type }) => (type === "host" ? [id] : [])));
  const hosts = new Map<string, string>();
  if (known.size === 0) return hosts;
  for (const { id, type, host } of view.entities) {
    if (type !== "host" && host !== null && known.has(hostEntityId(host))) hosts.set(id, hostEntityId(host));
  }
  return hosts;
}

function withHosts(entities: Set<string>, hosts: ReadonlyMap<string, string>): ReadonlySet<string> {
  if (hosts.size === 0) return entities;
  for (const entity of [...entities]) {
    const host = hosts.get(entity);
    if (host !== undefined) entities.add(host);
  }
  return entities;
}

function push(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

function within(neighbours: ReadonlyMap<string, readonly string[]>, options: { from: readonly string[]; hopsMax: number }): Set<string> {
  const reached = new Set(options.from);
  let frontier = [...reached];
  for (let hop = 0; hop < options.hopsMax && frontier.length > 0; hop += 1) {
    const next: string[] = [];
    for (const entity of frontier) {
      for (const neighbour of neighbours.get(entity) ?? []) {
        if (reached.has(neighbour)) continue;
        reached.add(neighbour);
        next.push(neighbour);
      }
    }
    frontier = next;
  }
  return reached;
}
