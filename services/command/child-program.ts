/** One of our own programs as a child: lines of its standard output as they come, the last of its standard error for messages. */
import { type ChildProcess, spawn } from "node:child_process";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { type ErrorCode, HeadwaterError } from "../../contract/error.ts";

const errorTextMax = 4_000;
const above = join(import.meta.dirname, "../..");
/** Where our programs are, compiled; tests run this file from its source. */
const programs = basename(above) === "dist" ? above : join(above, "dist");

export interface ChildProgramOptions {
  /** What it is, for messages. */
  readonly name: string;
  /** Below dist/, e.g. `services/main.js`. */
  readonly file: string;
  readonly arguments: readonly string[];
  /** Options of Node itself. */
  readonly nodeOptions?: readonly string[];
  /** Code of the error when it does not do what is waited for. */
  readonly failure: ErrorCode;
}

export class ChildProgram {
  readonly name: string;
  readonly #options: ChildProgramOptions;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #lines: string[] = [];
  #errorText = "";
  #exit: string | null = null;
  #wake: () => void = () => undefined;

  constructor(options: ChildProgramOptions) {
    this.name = options.name;
    this.#options = options;
    const file = join(programs, options.file);
    // A group of its own: Ctrl-C in a terminal is for us, and we end it in our order.
    const words = [...(options.nodeOptions ?? []), file, ...options.arguments];
    this.#child = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        this.#exit = signal === null ? `exit code ${code}` : `signal ${signal}`;
        this.#wake();
        resolve();
      });
    });
    this.#child.stdin?.on("error", () => undefined);
    this.#child.on("error", (error) => this.#say(error.message));
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#say(chunk.toString("utf8")));
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on("line", (line) => {
        this.#lines.push(line);
        this.#wake();
      });
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** How it ended, or null while it runs. */
  get exit(): string | null {
    return this.#exit;
  }

  /** Resolves when it is gone. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** The last of what it wrote to standard error. */
  get errorText(): string {
    return this.#errorText.trim();
  }

  /** The first line that fits, already seen or still to come. Throws when it ends or `timeoutMs` passes before. */
  async line(fits: (line: string) => boolean, timeoutMs: number): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.#lines.find(fits);
      if (found !== undefined) return found;
      const { name, failure } = this.#options;
      if (this.#exit !== null) throw new HeadwaterError(failure, `${name} ended (${this.#exit}): ${this.errorText}`);
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) {
        throw new HeadwaterError(failure, `${name} was not ready within ${Math.round(timeoutMs / 1_000)} s: ${this.errorText}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#exit === null) this.#child.kill(signal);
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }

  /** Asks it to end, insists after `withinMs`, resolves when it is gone. */
  async stop(withinMs: number): Promise<void> {
    this.signal("SIGTERM");
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.signal("SIGKILL"), withinMs);
    await this.#ended;
    clearTimeout(timer);
  }

  #say(text: string): void {
    this.#errorText = (this.#errorText + text).slice(-errorTextMax);
  }
}
