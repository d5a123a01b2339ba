/** The same incident with other names and another order: what must not change a rank. */
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { TruthItem } from "../../graph/case/score.ts";
import type { ShopRandom } from "./shop-random.ts";

export interface Renamed {
  readonly snapshot: EvidenceSnapshot;
  readonly truth: TruthItem[];
}

/** Gives every entity and dependency a random name, keeps who stands for whom, and shuffles every list. */
export function renamed(snapshot: EvidenceSnapshot, truth: readonly TruthItem[], random: ShopRandom): Renamed {
  const ids = new Set<string>();
  for (const entity of snapshot.entities) ids.add(entity.id);
  for (const dependency of snapshot.dependencies) for (const end of [dependency.source, dependency.target]) ids.add(end);
  const dependencyIds = new Set(snapshot.dependencies.map((dependency) => dependency.id));
  for (const item of [...snapshot.series, ...snapshot.operations, ...snapshot.templates, ...snapshot.changes]) {
    if (!dependencyIds.has(item.entity)) ids.add(item.entity);
  }
  const names = new Map([...ids].map((id, index) => [id, `${random.name()}${index}`]));
  const name = (id: string): string => names.get(id) ?? id;
  const edges = new Map(
    snapshot.dependencies.map((dependency) => [dependency.id, `${name(dependency.source)}>${name(dependency.target)}`]),
  );
  const owner = (id: string): string => edges.get(id) ?? name(id);
  const hosts = new Map<string, string>();
  for (const entity of snapshot.entities)
    if (entity.host !== null) hosts.set(entity.host, names.get(entity.host) ?? `host-${random.name()}`);
  const series = snapshot.series.map((item, index) => ({ ...item, id: `series:${random.name()}${index}`, entity: owner(item.entity) }));
  return {
    snapshot: {
      ...snapshot,
      symptoms: random.shuffled(snapshot.symptoms.map((symptom) => ({ ...symptom, entity: name(symptom.entity) }))),
      entities: random.shuffled(
        snapshot.entities.map((entity) => ({
          ...entity,
          id: name(entity.id),
          alias: entity.alias === null ? null : name(entity.alias),
          host: entity.host === null ? null : (hosts.get(entity.host) ?? null),
        })),
      ),
      dependencies: random.shuffled(
        snapshot.dependencies.map((item) => ({ ...item, id: owner(item.id), source: name(item.source), target: name(item.target) })),
      ),
      series: random.shuffled(series),
      operations: random.shuffled(
        snapshot.operations.map((item, index) => ({
          ...item,
          id: `operation:${random.name()}${index}`,
          entity: name(item.entity),
          callee: item.callee === null ? null : name(item.callee),
        })),
      ),
      templates: random.shuffled(
        snapshot.templates.map((item, index) => ({ ...item, id: `template:${random.name()}${index}`, entity: name(item.entity) })),
      ),
      invocations: random.shuffled(snapshot.invocations.map((item) => ({ ...item, entity: name(item.entity) }))),
      changes: random.shuffled(snapshot.changes.map((item) => ({ ...item, entity: owner(item.entity) }))),
    },
    truth: truth.map((item) => ({ ...item, id: item.type === "change" ? item.id : owner(item.id) })),
  };
}
