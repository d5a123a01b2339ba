/** Starts a worker thread from TypeScript: Node 20 takes no loader for a thread, so the thread registers one first. */
import { Worker } from "node:worker_threads";
import type { StartWorker } from "../../../services/agent/kernel-source.ts";

const worker = new URL("../../../services/agent/kernel-worker.ts", import.meta.url).href;
const script = `import("tsx/esm/api").then(({ register }) => { register(); return import(${JSON.stringify(worker)}); })`;

export const startFromTypeScript: StartWorker = (options) => new Worker(script, { eval: true, workerData: options });
