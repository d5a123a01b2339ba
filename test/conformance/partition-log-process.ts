/** Run by `LogProcess` as a process of its own: does with the Redis log what it is told, one call a message. */
import type { PartitionOwner } from "../../contract/port.ts";
import { openRedisPartitionLog } from "../../services/log/redis-log.ts";
import { SystemClock } from "../../services/platform.ts";
import type { LogCall, LogProcessOptions } from "./partition-log-child.ts";
import { aWindowEntry } from "./sample-messages.ts";

// Nobody is left to end this process when the test that started it is gone.
process.on("disconnect", () => process.exit(0));

const options = JSON.parse(process.argv[2] ?? "") as LogProcessOptions;
const log = await openRedisPartitionLog({ ...options, clock: new SystemClock(), onCounted: () => undefined });
const owners = new Map<number, PartitionOwner<"window">>();

function owner(partition: number): PartitionOwner<"window"> {
  const found = owners.get(partition);
  if (found === undefined) throw new Error(`${partition} was not asked for`);
  return found;
}

async function perform(call: LogCall): Promise<unknown> {
  switch (call.do) {
    case "own": {
      const taken = await log.own("window", call.partition);
      owners.set(call.partition, taken);
      return taken.fence;
    }
    case "read": {
      const entries = await owner(call.partition).read(call.after, { entriesMax: 1_000, waitMs: call.waitMs });
      return entries.map(({ value }) => value.progress[0]?.source);
    }
    case "commit":
      return await owner(call.partition).commit(call.offset, new Map([["state", new TextEncoder().encode(call.state)]]));
    case "append":
      return await log.append([{ topic: "window", partition: call.partition, value: aWindowEntry(call.source) }], {
        reduced: call.reduced,
      });
    case "join":
      return (await log.join("window")).self;
    case "close":
      return await log.close();
  }
}

process.on("message", (message: { number: number; call: LogCall }) => {
  perform(message.call).then(
    (result) => process.send?.({ number: message.number, result: result ?? null }),
    (error: { code?: string; message: string }) => process.send?.({ number: message.number, code: error.code ?? "", text: error.message }),
  );
});
process.send?.({ number: 0, result: "ready" });
