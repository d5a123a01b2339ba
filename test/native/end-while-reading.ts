/**
 * Run as `node --import tsx end-while-reading.ts OBJECT ROUNDS END`: threads that load the object and read a map without a pause are ended in
 * the midst of it, by `terminate`, or with the whole process by `exit`. Says how many it ended.
 */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

/** How a thread is ended. */
export type EndedBy = "terminate" | "exit";

const [, , object = "", rounds = "1", end = "terminate"] = process.argv;
const addon = fileURLToPath(new URL("../../dist/native/kernel.node", import.meta.url));
// The addon alone: a loader for TypeScript in each thread would take most of the time.
const script = `
  const { Probe } = require(${JSON.stringify(addon)});
  const probe = new Probe();
  probe.open(["generator", ${JSON.stringify(object)}], { data_ring: 65536 }, undefined);
  probe.load();
  require("node:worker_threads").parentPort.postMessage("reads");
  const into = new ArrayBuffer(65536);
  for (;;) { probe.dumpMap("losses", into); probe.programs(); probe.waiting("data_ring"); }
`;

let ended = 0;
for (let round = 0; round < Number(rounds); round += 1) {
  const worker = new Worker(script, { eval: true });
  await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  await pause(round % 4);
  if (end === "exit") process.exit(0);
  await worker.terminate();
  ended += 1;
}
process.stdout.write(`${ended}\n`);
