/** Reading a stream of the event store to its end, in bounded steps. */
import { pagesAfter } from "../../contract/event-stream.ts";
import type { EventStore, StoredEvent } from "../../contract/port.ts";

/** All events of a stream after a sequence, in order. */
export async function readStream(events: EventStore, stream: string, afterSequence: number): Promise<StoredEvent[]> {
  const all: StoredEvent[] = [];
  for await (const page of pagesAfter(events, stream, afterSequence)) all.push(...page);
  return all;
}
