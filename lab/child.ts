/** The lab's processes seen from both sides: how they are started and ended, and how a child never outlives its parent. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LabError } from "./lab-error.ts";

/** How long a child may take to end by itself. */
const endWaitMs = 3_000;

/** In a child: ends with the parent, and leaves Ctrl-C to it. */
export function endWithParent(): void {
  process.on("disconnect", () => process.exit(0));
  process.on("SIGINT", () => {});
}

/** In a child: tells the parent something; a parent that is gone is no error, `disconnect` follows. */
export function answerParent(message: object): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/** In the parent: one program of the lab as a process. */
export class Child<Out extends object, In extends { type: string }> {
  readonly #process: ChildProcess;
  readonly #name: string;
  /** Resolves with a description of how it ended. */
  readonly ended: Promise<string>;

  constructor(program: "service" | "relay" | "cache" | "neighbour", name: string, environment: Readonly<Record<string, string>> = {}) {
    this.#name = name;
    // The programs lie beside this one: compiled beside compiled.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    this.#process = fork(fileURLToPath(new URL(`./${program}.${extension}`, import.meta.url)), [], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { ...process.env, ...environment },
    });
    this.ended = new Promise((resolve) => {
      this.#process.once("error", (error) => resolve(error.message));
      this.#process.once("exit", (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
    // Sending to a child that has just ended is answered by `ended`.
    this.#process.on("error", () => {});
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  send(message: Out): void {
    if (this.#process.connected) this.#process.send(message, () => {});
  }

  /** The next message of this type; rejects with LAB_FAILED when the child says it failed, ends, or says nothing in time. */
  next<T extends In["type"]>(type: T, waitMs: number): Promise<Extract<In, { type: T }>> {
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        clearTimeout(timer);
        this.#process.off("message", listen);
        act();
      };
      const fail = (why: string): void => finish(() => reject(new LabError(`${this.#name}: ${why}`)));
      const listen = (message: unknown): void => {
        const said = message as In;
        if (said.type === type) finish(() => resolve(said as Extract<In, { type: T }>));
        else if (said.type === "failed") fail((said as unknown as { text: string }).text);
      };
      const timer = setTimeout(() => fail(`no answer within ${waitMs} ms`), waitMs);
      this.#process.on("message", listen);
      void this.ended.then((how) => fail(`ended with ${how}`));
    });
  }

  /** Sends a message and waits for this type of answer; see `next`. */
  ask<T extends In["type"]>(message: Out, type: T, waitMs: number): Promise<Extract<In, { type: T }>> {
    const answer = this.next(type, waitMs);
    this.send(message);
    return answer;
  }

  /** Ends it: by a message or by closing the channel, by SIGKILL when it does not follow. Resolves when it is gone. */
  async end(farewell?: Out): Promise<void> {
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), endWaitMs);
    if (farewell === undefined) {
      if (this.#process.connected) this.#process.disconnect();
    } else this.send(farewell);
    await this.ended;
    clearTimeout(timer);
  }
}
