/** Recorded changes, newest first, read from the event store as they are asked for. */
import type { Change } from "../../contract/change.ts";
import { changeStream } from "../../contract/event-stream.ts";
import { ChangeEvent } from "../../contract/incident.ts";
import type { EventStore } from "../../contract/port.ts";
import { readStream } from "./read-stream.ts";

/** Changes kept in memory; beyond it the oldest are no longer listed. */
const changesMax = 10_000;

export interface ChangeQuery {
  readonly fromMs: number | null;
  /** Exclusive. */
  readonly toMs: number | null;
  readonly entity: string | null;
  readonly limit: number;
}

export interface ChangeIndex {
  /** Newest first, by time and then by id. */
  list(query: ChangeQuery): Promise<Change[]>;
}

export function createChangeIndex(options: { events: EventStore; onCounted: (reason: "invalid-event" | "evicted") => void }): ChangeIndex {
  let sequence = 0;
  let changes: Change[] = [];
  const ids = new Set<string>();
  let reading: Promise<void> | null = null;

  async function catchUp(): Promise<void> {
    const stored = await readStream(options.events, changeStream, sequence);
    if (stored.length === 0) return;
    for (const event of stored) {
      sequence = event.sequence;
      const parsed = ChangeEvent.safeParse(event.data);
      if (!parsed.success) {
        options.onCounted("invalid-event");
        continue;
      }
      // The queue delivers at least once; the first record of a change is the one that counts.
      if (ids.has(parsed.data.change.id)) continue;
      ids.add(parsed.data.change.id);
      changes.push(parsed.data.change);
    }
    changes.sort(newestFirst);
    for (const dropped of changes.slice(changesMax)) {
      ids.delete(dropped.id);
      options.onCounted("evicted");
    }
    changes = changes.slice(0, changesMax);
  }

  return {
    async list(query) {
      reading ??= catchUp().finally(() => {
        reading = null;
      });
      await reading;
      const found: Change[] = [];
      for (const change of changes) {
        if (found.length >= query.limit) break;
        if (query.fromMs !== null && change.atMs < query.fromMs) continue;
        if (query.toMs !== null && change.atMs >= query.toMs) continue;
        if (query.entity !== null && change.entity !== query.entity) continue;
        found.push(change);
      }
      return found;
    },
  };
}

function newestFirst(left: Change, right: Change): number {
  if (left.atMs !== right.atMs) return right.atMs - left.atMs;
  return left.id < right.id ? -1 : Number(left.id > right.id);
}
