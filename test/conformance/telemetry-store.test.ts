import type { TelemetryStore } from "../../contract/port.ts";
import { SystemClock } from "../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../store/duckdb/duckdb-telemetry-store.ts";
import { openHttpTelemetryStore } from "../../store/http/http-telemetry-store.ts";
import { openTelemetryServer } from "../../store/http/telemetry-server.ts";
import { telemetryStoreConformance } from "./telemetry-store.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

const clock = new SystemClock();
const token = "the-token-of-the-conformance-suite";

telemetryStoreConformance("DuckDB files", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", clock, onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});

telemetryStoreConformance("DuckDB files behind HTTP", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const common = { clock, onCounted: counts.onCounted };
  const open = async (): Promise<TelemetryStore> => {
    const files = await openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", ...common });
    const server = await openTelemetryServer({ host: "127.0.0.1", port: 0, token, store: files, ...common });
    const client = await openHttpTelemetryStore({ url: server.url(), token, ...common });
    const close = async () => {
      await client.close();
      await server.close();
      await files.close();
    };
    // All else is the client's; what is opened again is all three.
    return new Proxy(client, {
      get: (target, name) => {
        if (name === "close") return close;
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  };
  return { counts, open, remove: folder.remove };
});
