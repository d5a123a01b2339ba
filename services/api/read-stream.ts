/** Reading a stream of the event store to its end, in bounded steps. */
import type { EventStore, StoredEvent } from "../../contract/port.ts";

const eventsPerRead = 1_000;

/** All events of a stream after a sequence, in order. */
export async function readStream(events: EventStore, stream: string, afterSequence: number): Promise<StoredEvent[]> {
  const all: StoredEvent[] = [];
  let after = afterSequence;
  for (;;) {
    const step = await events.read(stream, { afterSequence: after, eventsMax: eventsPerRead });
    all.push(...step);
    const last = step.at(-1);
    if (last === undefined || step.length < eventsPerRead) return all;
    after = last.sequence;
  }
}
