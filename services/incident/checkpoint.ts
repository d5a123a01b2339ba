/**
 * The stage's state as one chunk of partition 0 of the anomaly log, together with the offset of every partition that it holds.
 * Partition 0 is committed first and the others, which only trim their log, after it: so whatever a crash leaves, the chunk and the
 * entries after its offsets make the whole.
 */
import { partitionCount } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { PartitionOwner } from "../../contract/port.ts";
import type { CoreJson } from "./incident-core.ts";
import type { BufferPosition } from "./tick-buffer.ts";

const chunkName = "incident-state";
const version = 1;

export interface StageState {
  /** Another window length makes ticks of another kind: what was learned of the old ones is let go. */
  readonly windowMs: number;
  readonly position: BufferPosition;
  readonly core: CoreJson | null;
  /** Event of the event store up to which other people's actions are followed. */
  readonly eventPosition: number;
  /** Incidents that the event store has open, with the time of their opening. */
  readonly unresolved: readonly (readonly [string, number])[];
}

/** What the last commit holds; the beginning of the logs when there is none. Throws DATA_VERSION_UNKNOWN. */
export function restoreState(owners: readonly PartitionOwner<"anomaly">[], windowMs: number): StageState {
  const chunk = owners[0]?.checkpoint.chunks.get(chunkName);
  const nothing = { windowMs, core: null, eventPosition: 0, unresolved: [] };
  if (chunk === undefined) return { ...nothing, position: startingAt(owners.map((owner) => owner.checkpoint.offset)) };
  const state = JSON.parse(new TextDecoder().decode(chunk)) as StageState & { version: number };
  if (state.version !== version) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `the incident stage's checkpoint has version ${state.version}, this Headwater reads ${version}: start the newer version again`,
    );
  }
  if (state.windowMs !== windowMs) return { ...nothing, position: startingAt(state.position.offsets) };
  return state;
}

function startingAt(offsets: readonly number[]): BufferPosition {
  return { tickMs: null, offsets, closedThroughMs: Array.from({ length: partitionCount }, () => null) };
}

/** Commits the state and trims all partitions up to it. Throws FENCED when another process owns a partition by now. */
export async function commitState(owners: readonly PartitionOwner<"anomaly">[], state: StageState): Promise<void> {
  const chunk = new TextEncoder().encode(JSON.stringify({ version, ...state }));
  for (const [partition, owner] of owners.entries()) {
    const changed = new Map(partition === 0 ? [[chunkName, chunk] as const] : []);
    await owner.commit(state.position.offsets[partition] ?? 0, changed);
  }
}
