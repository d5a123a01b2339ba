/** A real Neo4j of our own, shared by the tests of a file; each asks for a namespace that nobody else has. */
import { findNeo4j } from "../../lab/neo4j-jars.ts";

/** Why Neo4j cannot be tested here; null when it can. */
export const neo4jMissing: string | null =
  findNeo4j() === null ? "Java or Neo4j's jars are missing (as root on Debian: node scripts/setup.mjs --servers)" : null;

let namespaces = 0;

export function freshNamespace(): string {
  namespaces += 1;
  return `test-${process.pid}-${namespaces}`;
}
