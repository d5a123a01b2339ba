/** A process of its own that writes into a port until it is killed, and what it had been told was written. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type WriterPort = "queue" | "partition-log" | "graph-store" | "event-store" | "telemetry-store";

/**
 * Starts `writer.ts`, sends SIGKILL at a random moment after `acknowledgedMin` writes were acknowledged, and answers the numbers of all
 * acknowledged writes. Writes are numbered from 0; several are on their way at any moment.
 */
export async function killedWriter(port: WriterPort, directory: string, acknowledgedMin: number): Promise<number[]> {
  const script = fileURLToPath(new URL("./writer.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", script, port, directory], { stdio: ["ignore", "pipe", "pipe"] });
  const acknowledged: number[] = [];
  let errors = "";
  let killing: NodeJS.Timeout | null = null;
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    acknowledged.push(Number(line));
    if (acknowledged.length < acknowledgedMin || killing !== null) return;
    killing = setTimeout(() => child.kill("SIGKILL"), Math.random() * 150);
  });
  const deadline = setTimeout(() => child.kill("SIGTERM"), 50_000);
  const signal = await new Promise<string | null>((resolve) => child.on("close", (_code, by) => resolve(by)));
  clearTimeout(deadline);
  if (signal !== "SIGKILL") throw new Error(`the writer ended by itself: ${errors}`);
  return acknowledged;
}
