/** Recorded changes, each once: what is delivered twice, or sent again by its source, is there already. */
import { type Change, Change as ChangeSchema } from "../../contract/change.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { changeStream, pagesAfter } from "../../contract/event-stream.ts";
import type { ChangeEvent } from "../../contract/incident.ts";
import type { EventStore } from "../../contract/port.ts";

const conflictsMax = 20;
/** Ids remembered; a change that is sent again after that many others is recorded twice. */
const idsMax = 100_000;

export class ChangeStream {
  #events: EventStore;
  #ids = new Set<string>();
  #sequence = 0;

  constructor(events: EventStore) {
    this.#events = events;
  }

  /** Reads what is recorded beyond what is known. */
  async catchUp(): Promise<void> {
    for await (const page of pagesAfter(this.#events, changeStream, this.#sequence)) {
      for (const event of page) {
        const change = ChangeSchema.safeParse((event.data as { change?: unknown } | null)?.change);
        if (change.success) this.#remember(change.data.id);
        this.#sequence = event.sequence;
      }
    }
  }

  /** Answers "duplicate" when a change of this id is recorded already. */
  async record(change: Change): Promise<"recorded" | "duplicate"> {
    for (let attempt = 1; ; attempt += 1) {
      if (this.#ids.has(change.id)) return "duplicate";
      const event: ChangeEvent = { type: "change-recorded", change };
      try {
        this.#sequence = await this.#events.append(changeStream, [event], { expectedSequence: this.#sequence });
        this.#remember(change.id);
        return "recorded";
      } catch (error) {
        if (!(error instanceof HeadwaterError) || error.code !== "CONFLICT" || attempt >= conflictsMax) throw error;
        await this.catchUp();
      }
    }
  }

  #remember(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size <= idsMax) return;
    const [oldest] = this.#ids;
    if (oldest !== undefined) this.#ids.delete(oldest);
  }
}
