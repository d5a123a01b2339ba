/** Why a distributed installation cannot run here, as one sentence; null when it can. */
import { neo4jMissing } from "../conformance/neo4j-server.ts";
import { noPostgres } from "../conformance/postgres-server.ts";
import { redisMissing } from "../conformance/redis-server.ts";

export const serversMissing: string | null = redisMissing ?? neo4jMissing ?? noPostgres;
