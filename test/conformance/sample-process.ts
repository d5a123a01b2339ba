/** A process as it announces itself. */
import type { ProcessStatus } from "../../contract/port.ts";

export function aStatus(id: string, changes: Partial<ProcessStatus> = {}): ProcessStatus {
  const running = { id, roles: ["ingest" as const], host: "host-a", pid: 4_242, version: "0.1.0", startedAtMs: 1_000 };
  return { ...running, state: "ready", reasons: [], partitions: {}, lostBatches: [], ...changes };
}
