/** `headwater start` as a child process of a test, on free ports, with a data directory of the test's. */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const main = join(import.meta.dirname, "../../dist/services/main.js");

export interface RunningHeadwater {
  readonly child: ChildProcess;
  readonly otlpUrl: string;
  readonly apiUrl: string;
}

/** 1 s windows, so that a test sees them close. */
export function writeConfig(directory: string): string {
  const file = join(directory, "headwater.yaml");
  const spec = [
    `  dataDirectory: ${join(directory, "data")}`,
    "  logLevel: warn",
    "  gateway: { port: 0 }",
    "  api: { port: 0 }",
    "  window: { windowMs: 1000, settleMs: 1000, sourceSilentMs: 3000 }",
    "  timeScale: 60",
    "  agent: { enabled: 'no' }",
  ];
  writeFileSync(file, ["apiVersion: headwater/v1", "kind: Configuration", "spec:", ...spec, ""].join("\n"));
  return file;
}

/** Resolves when it has said where it listens; rejects with what it printed when it ends before. */
export async function startHeadwater(configFile: string): Promise<RunningHeadwater> {
  const child = spawn(process.execPath, [main, "start", "--config", configFile], { stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  child.stderr.on("data", (chunk: Buffer) => {
    printed = (printed + chunk.toString("utf8")).slice(-4_000);
  });
  return await new Promise((resolve, reject) => {
    let apiUrl = "";
    createInterface({ input: child.stdout }).on("line", (line) => {
      printed = `${printed}${line}\n`.slice(-4_000);
      const url = /https?:\/\/\S+/.exec(line)?.[0] ?? "";
      if (line.startsWith("page and API")) apiUrl = url;
      if (line.startsWith("OTLP/HTTP in")) resolve({ child, otlpUrl: url, apiUrl });
    });
    child.on("error", reject);
    child.on("close", (code, signal) => reject(new Error(`headwater ended (${signal ?? code}): ${printed}`)));
  });
}

/** Sends the signal and waits until the process is gone. */
export async function endHeadwater(running: RunningHeadwater, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
  if (running.child.exitCode !== null || running.child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => running.child.once("close", () => resolve()));
  running.child.kill(signal);
  await gone;
}

/** Asks again until the answer fits or 30 s have passed; then fails with what was seen last. */
export async function eventually<T>(ask: () => Promise<T>, fits: (answer: T) => boolean, what: string): Promise<T> {
  const deadline = Date.now() + 30_000;
  let last: T | undefined;
  while (Date.now() < deadline) {
    last = await ask();
    if (fits(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: last seen ${JSON.stringify(last)?.slice(0, 1_000)}`);
}
