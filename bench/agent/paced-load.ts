/**
 * Requests at a steady rate over kept connections, one in flight on each. A process of its own that listens nowhere, so that it is outside to
 * an agent: run as `node paced-load.js <loads as JSON>`, it prints how far it is every second, until it is ended.
 */
import { createConnection, type Socket } from "node:net";
import { fileURLToPath, pathToFileURL } from "node:url";
import { RunningTool } from "./tool.ts";

export interface PacedLoadOptions {
  readonly port: number;
  readonly request: string;
  /** How every answer ends. */
  readonly answerEnd: string;
  readonly perSecond: number;
}

const connections = 16;
const tickMs = 4;
const tellEveryMs = 1_000;

/** Starts such a process. */
export function startPacedLoad(loads: readonly PacedLoadOptions[]): RunningTool {
  return new RunningTool(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(loads)]);
}

/** Answers by now and since when, as it told last. */
export function progressOf(load: RunningTool): { answered: number; ms: number } {
  const line = load.output.trim().split("\n").at(-1) ?? "";
  return line === "" ? { answered: 0, ms: 0 } : (JSON.parse(line) as { answered: number; ms: number });
}

class PacedLoad {
  readonly #options: PacedLoadOptions;
  readonly #free: Socket[] = [];
  readonly #begun = performance.now();
  #asked = 0;
  answered = 0;

  constructor(options: PacedLoadOptions) {
    this.#options = options;
    for (let count = 0; count < connections; count += 1) this.#connect();
    setInterval(() => this.#work(), tickMs);
  }

  #connect(): void {
    const socket = createConnection({ host: "127.0.0.1", port: this.#options.port, noDelay: true });
    const end = Buffer.from(this.#options.answerEnd);
    socket.on("connect", () => this.#free.push(socket));
    socket.on("error", () => socket.destroy());
    socket.on("data", (data: Buffer) => {
      if (!data.subarray(-end.length).equals(end)) return;
      this.answered += 1;
      this.#free.push(socket);
    });
  }

  #work(): void {
    const due = Math.floor(((performance.now() - this.#begun) * this.#options.perSecond) / 1_000);
    for (let socket = this.#free.pop(); socket !== undefined; socket = this.#free.pop()) {
      if (this.#asked >= due) {
        this.#free.push(socket);
        return;
      }
      this.#asked += 1;
      socket.write(this.#options.request);
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const loads = (JSON.parse(process.argv[2] ?? "[]") as PacedLoadOptions[]).map((options) => new PacedLoad(options));
  const begun = performance.now();
  setInterval(() => {
    const answered = loads.reduce((sum, load) => sum + load.answered, 0);
    process.stdout.write(`${JSON.stringify({ answered, ms: performance.now() - begun })}\n`);
  }, tellEveryMs);
  process.stdin.on("end", () => process.exit(0)).resume();
}
