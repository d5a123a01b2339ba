/** Runs the queries that somebody will wait for once, since Neo4j takes up to 0.7 s to plan one that it has not seen. */
import type { Neo4jConnection } from "./neo4j-connection.ts";
import type { QueryName } from "./query-text.ts";
import { whole } from "./whole.ts";

const nobody = { ids: [], id: "", atMs: whole(0), otherMs: whole(0), afterMs: whole(0), whole: false, tokens: [], countMax: whole(1) };

const asked: readonly QueryName[] = [
  ...(["watermarks", "neighbours", "entities-seen", "entities-of", "dependencies-among"] as const),
  ...(["entities-at", "dependencies-at", "hops-from", "hops-to", "calls-among", "similar-precedents"] as const),
];

/** Each query reads nothing: no entity is asked for, at the beginning of time. */
export async function warmUp(connection: Neo4jConnection, prefix: string): Promise<void> {
  await connection.read(async (run) => {
    await Promise.all(asked.map((name) => run(name, { prefix, ...nobody })));
  });
}
