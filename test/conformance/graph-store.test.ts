import { afterAll, beforeAll, describe } from "vitest";
import { openMemoryGraphStore } from "../../graph/memory/memory-graph-store.ts";
import { openNeo4jGraphStore } from "../../graph/neo4j/neo4j-graph-store.ts";
import type { RunningServer } from "../../lab/guarded-server.ts";
import { startNeo4j } from "../../scripts/servers.ts";
import { SystemClock } from "../../services/platform.ts";
import { graphStoreConformance } from "./graph-store.ts";
import { freshNamespace, neo4jMissing } from "./neo4j-server.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

graphStoreConformance("memory, kept in a folder", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openMemoryGraphStore({ directory: folder.path, clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});

describe.skipIf(neo4jMissing !== null)("on a real Neo4j", () => {
  let server: RunningServer;

  beforeAll(async () => {
    server = await startNeo4j();
  }, 120_000);

  afterAll(async () => {
    await server.stop();
  });

  graphStoreConformance("Neo4j", async () => {
    const counts = new Counts();
    const namespace = freshNamespace();
    const open = () => openNeo4jGraphStore({ url: server.url, namespace, clock: new SystemClock(), onCounted: counts.onCounted });
    return { counts, open, remove: async () => undefined };
  });
});
