/** Takes a text/event-stream apart, chunk by chunk. */

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** A stream that sends this much without ending an event is not ours. */
const bufferedMax = 1_048_576;

export interface EventStreamParser {
  /** The events that this chunk completes. Throws a RangeError when an event grows beyond 1 MiB. */
  push(chunk: string): StreamEvent[];
}

export function createEventStreamParser(): EventStreamParser {
  let buffered = "";
  return {
    push(chunk) {
      buffered += chunk;
      const blocks = buffered.split(/\r\n\r\n|\n\n|\r\r/);
      buffered = blocks.pop() ?? "";
      if (buffered.length > bufferedMax) throw new RangeError("an event of the stream is larger than 1 MiB");
      return blocks.flatMap(parseBlock);
    },
  };
}

function parseBlock(block: string): StreamEvent[] {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length === 0 ? [] : [{ event, data: data.join("\n") }];
}
