/** Run as `node --import tsx failing-handler.ts <directory>`: handles changes, with a programmer error on the one called "fatal". */
import { invariant } from "../../../contract/invariant.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";

const queue = await openMemoryQueue({ directory: process.argv[2] ?? "", clock: new SystemClock(), onCounted: () => undefined });
await queue.subscribe("change", "incident", async ({ id }) => invariant(id !== "fatal", "this cannot be"), { concurrency: 1 });
await queue.drain();
// Long enough for an error that was thrown aside to end the process first.
await new Promise((resolve) => setTimeout(resolve, 200));
await queue.close();
console.log("drained");
