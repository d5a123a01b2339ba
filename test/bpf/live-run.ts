/** A live command run inside of a test: what it writes, with objects that the test compiled and a thread from TypeScript. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import type { LiveSurroundings } from "../../services/command/live-output.ts";
import { compileObject, noKernelPrograms } from "../native/bpf-object.ts";
import { startFromTypeScript } from "../services/agent/typescript-worker.ts";

const waitMs = 10_000;

export class LiveRun {
  /** Standard output, by line. */
  readonly lines: string[] = [];
  readonly told: string[] = [];
  readonly surroundings: LiveSurroundings;
  #rest = "";
  #stop: () => void = () => undefined;

  constructor(folder: string, without: readonly string[]) {
    const until = new Promise<void>((resolve) => {
      this.#stop = resolve;
    });
    this.surroundings = {
      write: (text) => {
        const parts = (this.#rest + text).split("\n");
        this.#rest = parts.pop() ?? "";
        this.lines.push(...parts);
        return Promise.resolve();
      },
      tell: (text) => this.told.push(text),
      until,
      screen: "file",
      places: { objectPath: (name) => (without.includes(name) ? null : compiled(name, folder)), startWorker: startFromTypeScript },
    };
  }

  /** As a signal does. */
  stop(): void {
    this.#stop();
  }

  /** Everything that was printed as JSON, save the last words. */
  rows<Row>(): Row[] {
    return this.lines.map((line) => JSON.parse(line) as Row & { ended?: true }).filter(({ ended }) => ended !== true);
  }

  /** The last words of JSON. */
  end(): { shown: number; lost: Record<string, number> } {
    return JSON.parse(this.lines.at(-1) ?? "{}") as { shown: number; lost: Record<string, number> };
  }

  /** Until it says so on standard error. */
  async until(what: string, fits: () => boolean): Promise<void> {
    const deadline = Date.now() + waitMs;
    while (!fits()) {
      if (Date.now() > deadline) expect.fail(`${what} did not come; it said: ${this.told.join("; ")}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async untilObserving(): Promise<void> {
    await this.until("the first word", () => this.told.some((line) => line.startsWith("observing ")));
  }
}

/** Runs of one test file, with these objects compiled, each run without those that it names; they are removed after it. */
export function useLiveRuns(objects: readonly string[]): { readonly folder: string; start(without?: readonly string[]): LiveRun } {
  const folder = mkdtempSync(join(tmpdir(), "headwater-live-"));
  beforeAll(() => {
    if (noKernelPrograms === null) for (const name of objects) compileObject(`bpf/${name}.bpf.c`, folder);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, start: (without = []) => new LiveRun(folder, without) };
}

function compiled(name: string, folder: string): string | null {
  const path = join(folder, `${name}.bpf.o`);
  return existsSync(path) ? path : null;
}
