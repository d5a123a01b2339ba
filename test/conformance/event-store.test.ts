import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { SystemClock } from "../../services/platform.ts";
import { openPostgresEventStore } from "../../store/postgres/postgres-event-store.ts";
import { openSqliteEventStore } from "../../store/sqlite/sqlite-event-store.ts";
import { eventStoreConformance } from "./event-store.ts";
import { noPostgres, type PostgresServer, startPostgresServer } from "./postgres-server.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

const clock = new SystemClock();

eventStoreConformance("SQLite", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const file = join(folder.path, "deep", "events.sqlite");
  const open = () => openSqliteEventStore({ file, clock, onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});

if (noPostgres !== null) {
  console.warn(`PostgreSQL is not tested: ${noPostgres}`);
  describe("EventStore: PostgreSQL", () => {
    it.skip(noPostgres ?? "", () => undefined);
  });
} else {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgresServer();
  }, 60_000);
  afterAll(async () => {
    await server.stop();
  });
  eventStoreConformance("PostgreSQL", async () => {
    const counts = new Counts();
    const schema = server.freshSchema();
    const open = () => openPostgresEventStore({ url: server.url, clock, onCounted: counts.onCounted, schema });
    return { counts, open, remove: () => server.drop(schema) };
  });
}
