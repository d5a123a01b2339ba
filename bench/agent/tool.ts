/** Programs of others that the benchmark runs: load generators, tracers, a compiler. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { HeadwaterError } from "../../contract/error.ts";

const startWithinMs = 30_000;
const endWithinMs = 10_000;
const saidMax = 4_000;

/** Whether a program is on the PATH. */
export function hasTool(name: string): boolean {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== ""), "/usr/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs a program to its end without blocking the ring's reader; answers its standard output. Throws LAB_FAILED with what it said. */
export async function runTool(command: string, args: readonly string[]): Promise<string> {
  const tool = new RunningTool(command, args);
  await tool.ended;
  if (tool.status !== 0) throw new HeadwaterError("LAB_FAILED", `${command} ended with ${tool.status}: ${tool.said.slice(-500)}`);
  return tool.output;
}

/** A program that runs beside a measurement. */
export class RunningTool {
  readonly #child: ChildProcess;
  readonly #command: string;
  readonly ended: Promise<void>;
  #output = "";
  #said = "";
  #status: number | string | null = null;
  #wake: () => void = () => undefined;

  constructor(command: string, args: readonly string[]) {
    this.#command = command;
    this.#child = spawn(command, [...args], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdin?.on("error", () => undefined);
    this.#child.stdout?.on("data", (data: Buffer) => {
      this.#output += data.toString();
      this.#say(data);
    });
    this.#child.stderr?.on("data", (data: Buffer) => this.#say(data));
    this.ended = new Promise((resolve) => {
      this.#child.once("error", (error) => this.#end(error.message, resolve));
      this.#child.once("close", (code, signal) => this.#end(code ?? signal ?? "", resolve));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get output(): string {
    return this.#output;
  }

  /** The last of both its outputs. */
  get said(): string {
    return this.#said;
  }

  get status(): number | string | null {
    return this.#status;
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Resolves when it has said this. Throws LAB_FAILED when it ends or takes too long instead. */
  async says(word: string): Promise<void> {
    const deadline = performance.now() + startWithinMs;
    while (!this.#said.includes(word)) {
      if (this.#status !== null || performance.now() > deadline) {
        await this.stop();
        throw new HeadwaterError("LAB_FAILED", `${this.#command} did not say "${word}": ${this.#said.slice(-500)}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 100);
      });
    }
  }

  async stop(): Promise<void> {
    if (this.#status === null) this.#child.kill("SIGINT");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), endWithinMs);
    await this.ended;
    clearTimeout(timer);
  }

  #say(data: Buffer): void {
    this.#said = (this.#said + data.toString()).slice(-saidMax);
    this.#wake();
  }

  #end(status: number | string, resolve: () => void): void {
    this.#status ??= status;
    this.#wake();
    resolve();
  }
}

/** Compiles a C program into the folder; answers its path, null where there is no compiler. Throws LAB_FAILED when it is refused. */
export function compile(name: string, options: { source: string; folder: string }): string | null {
  if (!hasTool("gcc")) return null;
  const path = join(options.folder, name);
  const gcc = spawnSync("gcc", ["-O2", "-x", "c", "-", "-o", path], { input: options.source, encoding: "utf8" });
  if (gcc.status !== 0) throw new HeadwaterError("LAB_FAILED", `gcc: ${gcc.stderr.slice(-500)}`);
  return path;
}
