import { openMemoryGraphStore } from "../../graph/memory/memory-graph-store.ts";
import { SystemClock } from "../../services/platform.ts";
import { graphStoreConformance } from "./graph-store.ts";
import { temporaryFolder } from "./temporary.ts";

graphStoreConformance("memory, kept in a folder", async () => {
  const folder = await temporaryFolder();
  const open = () => openMemoryGraphStore({ directory: folder.path, clock: new SystemClock(), onCounted: () => undefined });
  return { open, remove: folder.remove };
});
