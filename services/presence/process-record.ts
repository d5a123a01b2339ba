/** What is kept of a process that announces itself, the bounds of that, and the order in which processes are listed. */
import { z } from "zod";
import { compareCodeUnits } from "../../contract/canonical.ts";
import { LostGroup, lostGroupsMax } from "../../contract/lost-batches.ts";
import type { ProcessStatus, SeenProcess } from "../../contract/port.ts";
import { StageName } from "../../contract/topic.ts";

/** A process that has been silent for longer is forgotten. */
export const keptMs = 3_600_000;
/** Processes kept; beyond it the one that has been silent for longest is forgotten. */
export const processesMax = 1_000;
const reasonsMax = 20;
const reasonLengthMax = 500;
const nameLengthMax = 256;

/** A status as it is stored. Fields of a newer version are dropped, not refused: versions run side by side during an upgrade. */
export const ProcessRecord = z.object({
  id: z.string().min(1).max(nameLengthMax),
  roles: z.array(StageName).max(StageName.options.length),
  host: z.string().max(nameLengthMax),
  pid: z.number().int().nonnegative(),
  version: z.string().max(nameLengthMax),
  startedAtMs: z.number().int(),
  state: z.enum(["starting", "ready", "waiting", "stopping"]),
  reasons: z.array(z.string().max(reasonLengthMax)).max(reasonsMax),
  partitions: z.record(z.string().max(64), z.array(z.number().int().nonnegative()).max(64)),
  lostBatches: z.array(LostGroup).max(lostGroupsMax).default([]),
});

/** A copy that keeps the bounds: what is too long is cut, and a later change of the status does not reach it. */
export function recordOf(status: ProcessStatus): ProcessStatus {
  return {
    id: status.id,
    roles: [...status.roles],
    host: status.host.slice(0, nameLengthMax),
    pid: status.pid,
    version: status.version.slice(0, nameLengthMax),
    startedAtMs: status.startedAtMs,
    state: status.state,
    reasons: status.reasons.slice(0, reasonsMax).map((reason) => reason.slice(0, reasonLengthMax)),
    partitions: Object.fromEntries(Object.entries(status.partitions).map(([topic, partitions]) => [topic, [...partitions]])),
    lostBatches: status.lostBatches.slice(-lostGroupsMax),
  };
}

/** By first role, then by id. */
export function inOrder(processes: Iterable<SeenProcess>): SeenProcess[] {
  return [...processes].sort(
    (left, right) => compareCodeUnits(left.roles[0] ?? "", right.roles[0] ?? "") || compareCodeUnits(left.id, right.id),
  );
}
