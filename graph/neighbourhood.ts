/** Who stands for whom and who calls whom, read from a snapshot once: aliases are folded into the entity they stand for. */
import { compareCodeUnits, sortedBy } from "../contract/canonical.ts";
import type { EvidenceSnapshot, SnapshotDependency, SnapshotEntity } from "../contract/evidence.ts";

/** A dependency between two folded entities; `id` is that of one dependency of the snapshot. */
export interface Edge {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** First seen at this time, or null when it has been there all along. */
  readonly validFromMs: number | null;
}

export interface Neighbourhood {
  /** Entities that stand for themselves, sorted by id; also those that only evidence names. */
  readonly entities: readonly SnapshotEntity[];
  readonly edges: readonly Edge[];
  entityOf(id: string): SnapshotEntity | null;
  /** The entity whose evidence an id's evidence is; the id itself when it is unknown or stands for itself. */
  fold(id: string): string;
  /** The folded dependency of a dependency id, or null when there is none of that id. */
  edgeOf(id: string): Edge | null;
  /** The dependency between two folded entities, or null. */
  edgeBetween(source: string, target: string): Edge | null;
  callees(entity: string): readonly string[];
  callers(entity: string): readonly string[];
  /** Hops from the nearest symptom along calls; 0 for a symptom; null when no symptom leads there. */
  depth(entity: string): number | null;
}

/** Indexes a snapshot's entities and dependencies. Cycles, unknown ends and aliases of aliases are allowed. */
export function neighbourhoodOf(snapshot: EvidenceSnapshot): Neighbourhood {
  const aliases = foldedAliases(snapshot.entities);
  const fold = (id: string): string => aliases.get(id) ?? id;
  const edges = foldedEdges(snapshot.dependencies, fold);
  const byPair = new Map(edges.map((edge) => [pairKey(edge.source, edge.target), edge]));
  const byId = new Map<string, Edge>();
  for (const dependency of snapshot.dependencies) {
    const edge = byPair.get(pairKey(fold(dependency.source), fold(dependency.target)));
    if (edge !== undefined) byId.set(dependency.id, edge);
  }
  const callees = adjacency(edges, (edge) => [edge.source, edge.target]);
  const callers = adjacency(edges, (edge) => [edge.target, edge.source]);
  const depths = depthsFrom(
    snapshot.symptoms.map((symptom) => fold(symptom.entity)),
    callees,
  );
  const entities = allEntities(snapshot, fold);
  const entityById = new Map(entities.map((entity) => [entity.id, entity]));
  return {
    entities,
    entityOf: (id) => entityById.get(id) ?? null,
    edges,
    fold,
    edgeOf: (id) => byId.get(id) ?? null,
    edgeBetween: (source, target) => byPair.get(pairKey(source, target)) ?? null,
    callees: (entity) => callees.get(entity) ?? [],
    callers: (entity) => callers.get(entity) ?? [],
    depth: (entity) => depths.get(entity) ?? null,
  };
}

function pairKey(source: string, target: string): string {
  return JSON.stringify([source, target]);
}

/** Follows aliases to their end; a ring of aliases stands for nothing and each member for itself. */
function foldedAliases(entities: readonly SnapshotEntity[]): Map<string, string> {
  const direct = new Map<string, string>();
  for (const entity of entities) if (entity.alias !== null && entity.alias !== entity.id) direct.set(entity.id, entity.alias);
  const folded = new Map<string, string>();
  for (const id of direct.keys()) {
    const seen = new Set([id]);
    let end = id;
    for (let next = direct.get(end); next !== undefined; next = direct.get(end)) {
      if (seen.has(next)) {
        end = id;
        break;
      }
      seen.add(next);
      end = next;
    }
    folded.set(id, end);
  }
  return folded;
}

/** One edge per pair of folded ends; the dependency whose own ends are those gives the id, else the first by id. */
function foldedEdges(dependencies: readonly SnapshotDependency[], fold: (id: string) => string): Edge[] {
  const chosen = new Map<string, { edge: Edge; direct: boolean }>();
  for (const dependency of sortedBy(dependencies, (item) => item.id)) {
    const source = fold(dependency.source);
    const target = fold(dependency.target);
    if (source === target) continue;
    const direct = source === dependency.source && target === dependency.target;
    const key = pairKey(source, target);
    const before = chosen.get(key);
    if (before !== undefined && (before.direct || !direct)) continue;
    chosen.set(key, { edge: { id: dependency.id, source, target, validFromMs: dependency.validFromMs }, direct });
  }
  return sortedBy(
    [...chosen.values()].map((item) => item.edge),
    (edge) => edge.id,
  );
}

function adjacency(edges: readonly Edge[], ends: (edge: Edge) => readonly [string, string]): Map<string, string[]> {
  const lists = new Map<string, string[]>();
  for (const edge of edges) {
    const [from, to] = ends(edge);
    const list = lists.get(from);
    if (list === undefined) lists.set(from, [to]);
    else list.push(to);
  }
  for (const list of lists.values()) list.sort(compareCodeUnits);
  return lists;
}

function depthsFrom(starts: readonly string[], callees: ReadonlyMap<string, readonly string[]>): Map<string, number> {
  const depths = new Map<string, number>(starts.map((start) => [start, 0]));
  let frontier = [...depths.keys()];
  for (let depth = 1; frontier.length > 0; depth += 1) {
    const next: string[] = [];
    for (const entity of frontier) {
      for (const callee of callees.get(entity) ?? []) {
        if (depths.has(callee)) continue;
        depths.set(callee, depth);
        next.push(callee);
      }
    }
    frontier = next;
  }
  return depths;
}

function allEntities(snapshot: EvidenceSnapshot, fold: (id: string) => string): SnapshotEntity[] {
  const known = new Map(snapshot.entities.map((entity) => [entity.id, entity]));
  const declared = new Set(snapshot.dependencies.map((dependency) => dependency.id));
  const named = new Set<string>();
  for (const entity of snapshot.entities) named.add(fold(entity.id));
  for (const item of [...snapshot.series, ...snapshot.operations, ...snapshot.templates, ...snapshot.events]) {
    if (!declared.has(item.entity)) named.add(fold(item.entity));
  }
  for (const symptom of snapshot.symptoms) named.add(fold(symptom.entity));
  for (const { target } of snapshot.events) if (target !== null) named.add(fold(target));
  for (const { callee } of snapshot.operations) if (callee !== null) named.add(fold(callee));
  for (const dependency of snapshot.dependencies) {
    named.add(fold(dependency.source));
    named.add(fold(dependency.target));
  }
  for (const change of snapshot.changes) if (!declared.has(change.entity)) named.add(fold(change.entity));
  return sortedBy(named, (id) => id).map(
    (id) => known.get(id) ?? { id, type: "service", alias: null, host: null, zone: null, entry: false },
  );
}
