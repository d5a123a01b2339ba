/** Whether a Neo4j can be used, and bringing what we keep there to the version that we know. */
import { allPartitions } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { Neo4jConnection } from "./neo4j-connection.ts";
import { type Migration, migrations } from "./query-text.ts";
import { whole } from "./whole.ts";

/** Relationships can be unique from here on. */
const versionMin = [5, 7] as const;

/**
 * Checks server and data, and runs those of the `steps` that have not run for this installation. Processes that do it at once do no harm: a
 * migration may run twice. Throws SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN, and what the connection throws.
 */
export async function migrate(connection: Neo4jConnection, prefix: string, steps: readonly Migration[] = migrations): Promise<void> {
  await refuseUnsuitable(connection);
  // Before the first migration nothing keeps two processes from making a root each, so the constraint comes before the root.
  for (const statement of steps[0]?.statements ?? []) await connection.runAlone(statement);
  const version = await versionOf(connection, prefix);
  const newest = steps.length;
  if (version > newest) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `the graph "${prefix}" in ${connection.address} has version ${version}, this Headwater knows ${newest}: start the newer version again`,
    );
  }
  for (const migration of steps.slice(version)) {
    if (migration.version > 1) for (const statement of migration.statements) await connection.runAlone(statement);
    await connection.write((run) => run("set-version", { prefix, version: whole(migration.version) }));
  }
}

async function refuseUnsuitable(connection: Neo4jConnection): Promise<void> {
  const agent = await connection.serverAgent();
  const found = /^Neo4j\/(\d+)\.(\d+)/.exec(agent);
  const [major, minor] = [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
  if (major > versionMin[0] || (major === versionMin[0] && minor >= versionMin[1])) return;
  throw new HeadwaterError(
    "SERVER_UNSUITABLE",
    `${connection.address} is "${agent.slice(0, 60)}"; Neo4j ${versionMin.join(".")} or newer is needed`,
  );
}

async function versionOf(connection: Neo4jConnection, prefix: string): Promise<number> {
  const [root] = await connection.write((run) => run("graph-version", { prefix, watermarksMs: allPartitions.map(() => whole(0)) }));
  const version = root?.version;
  if (typeof version === "number" && Number.isInteger(version)) return version;
  throw new HeadwaterError(
    "DATA_FOREIGN",
    `${connection.address} has a node HeadwaterGraph "${prefix}" that Headwater did not write: name another database at the end of urls.graph, or remove the node`,
  );
}
