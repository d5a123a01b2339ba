/** The causal part of the graph: from the cause along its callers to who is hurt, at most twelve nodes, and where they stand. */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { RankResult } from "../contract/verdict.ts";
import type { CandidateRole } from "./wording.ts";

export const causalNodesMax = 12;

export interface CausalNode {
  readonly id: string;
  readonly role: CandidateRole;
  readonly entry: boolean;
  /** Steps from the cause, in the direction in which a failure travels: from callee to caller. */
  readonly layer: number;
  /** Place within the layer, from 0. */
  readonly place: number;
}

export interface CausalEdge {
  /** The callee, whose failure travels to … */
  readonly from: string;
  /** … the caller. */
  readonly to: string;
  /** The dependency itself is the cause. */
  readonly cause: "yes" | "no";
}

export interface CausalGraph {
  readonly nodes: readonly CausalNode[];
  readonly edges: readonly CausalEdge[];
  readonly layerCount: number;
  /** The most nodes that one layer has. */
  readonly placeCount: number;
  /** Entities with a role that found no place. */
  readonly leftOut: number;
}

/** Empty when the verdict names no cause and no impact. */
export function causalGraph(result: RankResult, snapshot: EvidenceSnapshot): CausalGraph {
  const roles = rolesOf(result);
  const start = startOf(result, snapshot);
  const callers = callersOf(snapshot);
  const steps = stepsFrom(start, callers);
  const hurt = snapshot.symptoms.map((symptom) => symptom.entity);
  const wanted = new Set<string>(start);
  for (const entity of hurt) for (const id of pathTo(entity, steps)) wanted.add(id);
  const ranked = result.ranking.filter((candidate) => candidate.type === "entity" && candidate.role !== "none").map((one) => one.id);
  for (const id of ranked) wanted.add(id);
  for (const entity of hurt) wanted.add(entity);
  const chosen = [...wanted].slice(0, causalNodesMax);
  const nodes = placed(chosen, { steps, roles, snapshot, hurt });
  const here = new Set(chosen);
  const causeDependency = result.ranking[0]?.type === "dependency" && result.conclusion === "cause" ? result.ranking[0].id : null;
  const edges = snapshot.dependencies
    .filter((dependency) => here.has(dependency.source) && here.has(dependency.target) && dependency.source !== dependency.target)
    .map((dependency) => ({
      from: dependency.target,
      to: dependency.source,
      cause: dependency.id === causeDependency ? ("yes" as const) : ("no" as const),
    }));
  return {
    nodes,
    edges,
    layerCount: nodes.reduce((most, node) => Math.max(most, node.layer + 1), 0),
    placeCount: nodes.reduce((most, node) => Math.max(most, node.place + 1), 0),
    leftOut: wanted.size - chosen.length,
  };
}

function rolesOf(result: RankResult): Map<string, CandidateRole> {
  return new Map(result.ranking.filter((candidate) => candidate.type === "entity").map((candidate) => [candidate.id, candidate.role]));
}

/** Where the failure began: the first candidate, or the entity that a change or a dependency belongs to. */
function startOf(result: RankResult, snapshot: EvidenceSnapshot): string[] {
  const first = result.ranking[0];
  if (first === undefined) return [];
  if (first.type === "entity") return [first.id];
  if (first.type === "change") return snapshot.changes.filter((change) => change.id === first.id).map((change) => change.entity);
  return snapshot.dependencies.filter((one) => one.id === first.id).flatMap((one) => [one.target, one.source]);
}

function callersOf(snapshot: EvidenceSnapshot): Map<string, string[]> {
  const callers = new Map<string, string[]>();
  for (const { source, target } of snapshot.dependencies) callers.set(target, [...(callers.get(target) ?? []), source]);
  return callers;
}

interface Step {
  readonly distance: number;
  readonly before: string | null;
}

/** Breadth first along the callers, so that each path is a shortest one. */
function stepsFrom(start: readonly string[], callers: ReadonlyMap<string, string[]>): Map<string, Step> {
  const first = start[0];
  const steps = new Map<string, Step>();
  if (first === undefined) return steps;
  steps.set(first, { distance: 0, before: null });
  const waiting = [first];
  for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
    const distance = (steps.get(id)?.distance ?? 0) + 1;
    for (const caller of callers.get(id) ?? []) {
      if (steps.has(caller)) continue;
      steps.set(caller, { distance, before: id });
      waiting.push(caller);
    }
  }
  return steps;
}

function pathTo(entity: string, steps: ReadonlyMap<string, Step>): string[] {
  const path: string[] = [];
  for (let id: string | null = steps.has(entity) ? entity : null; id !== null; id = steps.get(id)?.before ?? null) path.unshift(id);
  return path;
}

interface Known {
  readonly steps: ReadonlyMap<string, Step>;
  readonly roles: ReadonlyMap<string, CandidateRole>;
  readonly snapshot: EvidenceSnapshot;
  readonly hurt: readonly string[];
}

function placed(ids: readonly string[], known: Known): CausalNode[] {
  const entries = new Set(known.snapshot.entities.filter((entity) => entity.entry).map((entity) => entity.id));
  const counts = new Map<number, number>();
  return ids.map((id) => {
    // What no path reaches stands beside the cause: it is named, not explained.
    const layer = known.steps.get(id)?.distance ?? 0;
    const place = counts.get(layer) ?? 0;
    counts.set(layer, place + 1);
    const role = known.roles.get(id) ?? "none";
    return { id, role: role === "none" && known.hurt.includes(id) ? "impact" : role, entry: entries.has(id), layer, place };
  });
}
