import { join } from "node:path";
import { SystemClock } from "../../services/platform.ts";
import { openSqliteEventStore } from "../../store/sqlite/sqlite-event-store.ts";
import { eventStoreConformance } from "./event-store.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

eventStoreConformance("SQLite", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const file = join(folder.path, "deep", "events.sqlite");
  const open = () => openSqliteEventStore({ file, clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});
