/** Run as `node --import tsx telemetry-server-process.ts <directory> <port> <token>`: the role `store` as a process that can be killed. */
import { SystemClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { openTelemetryServer } from "../../../store/http/telemetry-server.ts";

const [directory = "", port, token = ""] = process.argv.slice(2);
const common = { clock: new SystemClock(), onCounted: () => undefined };
// Nobody is left to kill this process when the test that started it is gone.
setTimeout(() => process.exit(1), 60_000);

const store = await openDuckdbTelemetryStore({ directory, tenant: "default", ...common });
const server = await openTelemetryServer({ host: "127.0.0.1", port: Number(port), token, store, ...common });
process.stdout.write(`${server.url()}\n`);
