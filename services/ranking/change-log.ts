/** The recorded changes, read on from where the last look ended. */

import { sortedBy } from "../../contract/canonical.ts";
import { Change } from "../../contract/change.ts";
import { changeStream, pagesAfter } from "../../contract/event-stream.ts";
import type { EventStore } from "../../contract/port.ts";

/** Changes remembered; the oldest recorded are forgotten. */
const changesMax = 20_000;
/** Changes of one snapshot, newest first. */
const changesPerSnapshotMax = 500;

export class ChangeLog {
  #events: EventStore;
  #changes: Change[] = [];
  #sequence = 0;

  constructor(events: EventStore) {
    this.#events = events;
  }

  /** Changes in [`fromMs`, `toMs`], by time and id. */
  async between(fromMs: number, toMs: number): Promise<Change[]> {
    await this.#catchUp();
    const found = this.#changes.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
    return sortedBy(found, ({ id }) => id)
      .sort((left, right) => left.atMs - right.atMs)
      .slice(-changesPerSnapshotMax);
  }

  async #catchUp(): Promise<void> {
    for await (const page of pagesAfter(this.#events, changeStream, this.#sequence)) {
      for (const event of page) {
        const change = Change.safeParse((event.data as { change?: unknown } | null)?.change);
        if (change.success) this.#changes.push(change.data);
        this.#sequence = event.sequence;
      }
      if (this.#changes.length > changesMax) this.#changes.splice(0, this.#changes.length - changesMax);
    }
  }
}
