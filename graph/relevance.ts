/** Whether a candidate can have hurt the symptoms at all: only what they depend on, or what shares a host with that. */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import { candidateKey } from "./contribution.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

/** Shares a host with something that the symptoms depend on. */
const neighbourRelevance = 0.7;
/** Not known to be connected: maps have gaps, so it stays possible. */
const unconnectedRelevance = 0.4;

/** 0..1 per candidate key; 1 for all where no symptom or no dependency is known. */
export function relevanceOf(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): (key: string) => number {
  if (snapshot.symptoms.length === 0 || neighbourhood.edges.length === 0) return () => 1;
  const connectedHosts = new Set<string>();
  for (const entity of neighbourhood.entities) {
    if (entity.host !== null && neighbourhood.depth(entity.id) !== null) connectedHosts.add(entity.host);
  }
  const relevance = new Map<string, number>();
  for (const entity of neighbourhood.entities) {
    const connected = neighbourhood.depth(entity.id) !== null || (entity.type === "host" && connectedHosts.has(entity.id));
    const shares = entity.host !== null && connectedHosts.has(entity.host);
    relevance.set(candidateKey("entity", entity.id), connected ? 1 : shares ? neighbourRelevance : unconnectedRelevance);
  }
  for (const edge of neighbourhood.edges) {
    relevance.set(candidateKey("dependency", edge.id), neighbourhood.depth(edge.source) === null ? unconnectedRelevance : 1);
  }
  return (key) => relevance.get(key) ?? 1;
}
