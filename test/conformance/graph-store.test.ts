import { openMemoryGraphStore } from "../../graph/memory/memory-graph-store.ts";
import { SystemClock } from "../../services/platform.ts";
import { graphStoreConformance } from "./graph-store.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

graphStoreConformance("memory, kept in a folder", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openMemoryGraphStore({ directory: folder.path, clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});
