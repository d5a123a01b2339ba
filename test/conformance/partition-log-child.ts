/** A process of its own that uses the Redis log and can be killed, stopped and continued. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface LogProcessOptions {
  readonly url: string;
  readonly prefix: string;
  readonly memberId: string;
  readonly leaseMs: number;
  readonly renewMs: number;
}

/** What a process can be told; see `partition-log-process.ts`. */
export type LogCall =
  | { readonly do: "own"; readonly partition: number }
  | { readonly do: "read"; readonly partition: number; readonly after: number; readonly waitMs: number }
  | { readonly do: "commit"; readonly partition: number; readonly offset: number; readonly state: string }
  | { readonly do: "append"; readonly partition: number; readonly source: string; readonly reduced: readonly string[] }
  | { readonly do: "join" }
  | { readonly do: "close" };

interface Answer {
  readonly number: number;
  readonly result?: unknown;
  readonly code?: string;
  readonly text?: string;
}

export class LogProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: unknown) => void }>();
  readonly #ended: Promise<void>;
  #calls = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.number);
      this.#waiting.delete(answer.number);
      if (answer.code === undefined) waiting?.resolve(answer.result);
      else waiting?.reject(Object.assign(new Error(answer.text), { code: answer.code }));
    });
    this.#ended = new Promise((resolve) => {
      child.on("exit", () => {
        for (const { reject } of this.#waiting.values()) reject(new Error("the process has ended"));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  /** Resolves when its log is open. */
  static async start(options: LogProcessOptions): Promise<LogProcess> {
    const script = fileURLToPath(new URL("./partition-log-process.ts", import.meta.url));
    const started = new LogProcess(fork(script, [JSON.stringify(options)], { execArgv: ["--import", "tsx"] }));
    await new Promise((resolve, reject) => started.#waiting.set(0, { resolve, reject }));
    return started;
  }

  /** Rejects with the error's code. */
  call(call: LogCall): Promise<unknown> {
    this.#calls += 1;
    const number = this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#child.send({ number, call });
    });
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
