/** A real PostgreSQL of our own in which every test gets a schema of its own. */
import { Client } from "pg";
import { postgresMissing } from "../../lab/servers.ts";
import { startPostgres } from "../../scripts/servers.ts";

/** Why PostgreSQL cannot be tested here; null when it can. */
export const noPostgres: string | null = postgresMissing();

export interface PostgresServer {
  readonly url: string;
  /** A name that no schema of this server has. */
  freshSchema(): string;
  /** Runs a statement as the administrator. */
  run(text: string): Promise<unknown[][]>;
  drop(schema: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startPostgresServer(): Promise<PostgresServer> {
  const server = await startPostgres({ connectionsMax: 60 });
  let schemas = 0;
  const run = (text: string) => runOn(server.url, text);
  return {
    url: server.url,
    freshSchema: () => {
      schemas += 1;
      return `test_${schemas}`;
    },
    run,
    drop: async (schema) => {
      await run(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    },
    stop: () => server.stop(),
  };
}

/** Runs one statement over a connection of its own. */
export async function runOn(url: string, text: string): Promise<unknown[][]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query({ text, rowMode: "array" })).rows as unknown[][];
  } finally {
    await client.end();
  }
}
