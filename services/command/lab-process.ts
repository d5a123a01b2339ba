/** The lab as a child process: JSON lines down its standard input, JSON lines up its standard output (see `lab/main.ts`). */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import type { TelemetryKind } from "./lab-words.ts";

const LabEvent = z
  .object({
    event: z.string(),
    atMs: z.number().optional(),
    cycle: z.number().optional(),
    text: z.string().optional(),
    /** Of `ready`: the control group below which the services are; null where the lab may make none. */
    cgroup: z.string().nullable().optional(),
  })
  .loose();
export type LabEvent = z.infer<typeof LabEvent>;

const stopTimeoutMs = 15_000;
const errorTextMax = 4_000;

export interface LabOptions {
  readonly seed: number;
  readonly otlpUrl: string;
  readonly truthFile: string;
  /** With `kernel` the services report nothing of themselves. */
  readonly telemetry: TelemetryKind;
  /** Told of every event, in order. */
  readonly onEvent: (event: LabEvent) => void;
}

export interface LabCommand {
  readonly command: "cycle" | "quiet" | "quit";
  readonly fault?: string;
  readonly cycle?: number;
  /** Undisturbed time before the fault, at least. */
  readonly settleSeconds?: number;
  readonly minutes?: number;
}

/** A running shop. `stop` ends it and everything it started. */
export class LabProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #seen: LabEvent[] = [];
  #waiters: (() => void)[] = [];
  #exit: string | null = null;
  #errorText = "";

  constructor(options: LabOptions) {
    const main = join(import.meta.dirname, "../../lab/main.js");
    const args = [
      main,
      "--seed",
      String(options.seed),
      "--otlp",
      options.otlpUrl,
      "--changes",
      `${options.otlpUrl}/v1/changes`,
      "--truth",
      options.truthFile,
      "--telemetry",
      options.telemetry,
    ];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        this.#exit = signal === null ? `exit code ${code}` : `signal ${signal}`;
        this.#wake();
        resolve();
      });
    });
    this.#child.on("error", (error) => {
      this.#errorText += error.message;
    });
    this.#child.stdin?.on("error", () => undefined);
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#errorText = (this.#errorText + chunk.toString("utf8")).slice(-errorTextMax);
    });
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on("line", (text) => {
        const event = LabEvent.parse(JSON.parse(text));
        this.#seen.push(event);
        options.onEvent(event);
        this.#wake();
      });
    }
  }

  send(command: LabCommand): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** The first event that fits, already seen or still to come. Throws LAB_FAILED when the lab ends or `timeoutMs` passes before. */
  async waitFor(what: string, fits: (event: LabEvent) => boolean, timeoutMs: number): Promise<LabEvent> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.#seen.find(fits);
      if (found !== undefined) return found;
      const failed = this.#seen.find((event) => event.event === "failed");
      if (failed !== undefined) throw new HeadwaterError("LAB_FAILED", `the lab failed: ${failed.text ?? ""}`);
      if (this.#exit !== null)
        throw new HeadwaterError("LAB_FAILED", `the lab ended (${this.#exit}) before ${what}: ${this.#errorText.trim()}`);
      const leftMs = deadline - Date.now();
      if (leftMs <= 0)
        throw new HeadwaterError(
          "LAB_FAILED",
          `the lab did not reach "${what}" within ${Math.round(timeoutMs / 1000)} s: ${this.#errorText.trim()}`,
        );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Begins a cycle; answers how it begins, or that this shop or machine cannot have it (event `refused`). */
  async begin(cycle: { fault: string; cycle: number; settleSeconds: number }, timeoutMs: number): Promise<LabEvent> {
    this.send({ command: "cycle", ...cycle });
    const answers = ["fault-begins", "refused"];
    return await this.waitFor(
      `the start of ${cycle.fault}`,
      (event) => answers.includes(event.event) && event.cycle === cycle.cycle,
      timeoutMs,
    );
  }

  /** Asks it to end, then insists. Resolves when it is gone. */
  async stop(): Promise<void> {
    if (this.#exit === null) this.send({ command: "quit" });
    const timer = setTimeout(() => this.#child.kill("SIGTERM"), stopTimeoutMs);
    await this.#ended;
    clearTimeout(timer);
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
