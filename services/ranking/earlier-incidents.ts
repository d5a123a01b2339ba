/** When other incidents were, so that their stretches are not taken for normal. Read from the event store, each stream once. */
import { incidentPrefix, incidentStream, pagesAfter } from "../../contract/event-stream.ts";
import type { Interval } from "../../contract/evidence.ts";
import { IncidentEvent } from "../../contract/incident.ts";
import type { EventStore } from "../../contract/port.ts";

interface Stretch {
  sequence: number;
  fromMs: number | null;
  toMs: number | null;
}

export class EarlierIncidents {
  #events: EventStore;
  #stretches = new Map<string, Stretch>();

  constructor(events: EventStore) {
    this.#events = events;
  }

  /** Incidents other than this one that were over by `beforeMs`, in order of their end. */
  async endedBefore(beforeMs: number, incident: string): Promise<Interval[]> {
    const streams = await this.#events.streams(incidentPrefix);
    const known = new Set(streams);
    for (const stream of this.#stretches.keys()) if (!known.has(stream)) this.#stretches.delete(stream);
    for (const stream of streams) await this.#catchUp(stream);
    const ended: Interval[] = [];
    for (const [stream, { fromMs, toMs }] of this.#stretches) {
      if (stream !== incidentStream(incident) && fromMs !== null && toMs !== null && toMs <= beforeMs) ended.push({ fromMs, toMs });
    }
    return ended.sort((left, right) => left.toMs - right.toMs || left.fromMs - right.fromMs);
  }

  async #catchUp(stream: string): Promise<void> {
    const stretch = this.#stretches.get(stream) ?? { sequence: 0, fromMs: null, toMs: null };
    this.#stretches.set(stream, stretch);
    for await (const page of pagesAfter(this.#events, stream, stretch.sequence)) {
      for (const event of page) {
        const parsed = IncidentEvent.safeParse(event.data);
        if (parsed.success) follow(stretch, parsed.data);
        stretch.sequence = event.sequence;
      }
    }
  }
}

function follow(stretch: Stretch, event: IncidentEvent): void {
  if (event.type === "opened") stretch.fromMs = event.onsetMs;
  if (event.type === "resolved") stretch.toMs = event.atMs;
  if (event.type === "reopened") stretch.toMs = null;
}
