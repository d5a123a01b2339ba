import { SystemClock } from "../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../store/duckdb/duckdb-telemetry-store.ts";
import { telemetryStoreConformance } from "./telemetry-store.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

telemetryStoreConformance("DuckDB files", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () =>
    openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});
