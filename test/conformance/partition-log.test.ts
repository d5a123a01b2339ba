import { openFilePartitionLog } from "../../services/log/file-log.ts";
import { SystemClock } from "../../services/platform.ts";
import { partitionLogConformance } from "./partition-log.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

partitionLogConformance("files", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openFilePartitionLog({ directory: folder.path, clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});
