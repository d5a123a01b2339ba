/** Run as `node --import tsx holding-worker.ts <redis url> <prefix>`: takes batches, prints the id of each, and never finishes one. */
import { writeSync } from "node:fs";
import { SystemClock } from "../../../services/platform.ts";
import { openBullmqQueue } from "../../../services/queue/bullmq-queue.ts";

const [url = "", prefix = ""] = process.argv.slice(2);
const queue = await openBullmqQueue({ url, prefix, clock: new SystemClock(), onCounted: () => undefined });
const hold = async ({ id }: { id: string }): Promise<void> => {
  writeSync(1, `${id}\n`);
  await new Promise(() => undefined);
};
await queue.subscribe("telemetry", "ingest", hold, { concurrency: 5 });
// Nobody is left to kill this process when the test that started it is gone.
setTimeout(() => process.exit(1), 60_000);
