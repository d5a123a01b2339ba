/** The agent as a child of `headwater start`: its rights are not the platform's, and it ends with it. */
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../contract/port.ts";
import type { Logger } from "../platform.ts";
import type { Role } from "../role.ts";
import { ChildProgram } from "./child-program.ts";
import { exitCode } from "./output.ts";

export interface AgentChildOptions {
  /** Starts one; tests start something else. */
  readonly spawn: () => AgentProcess;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `auto`: that it cannot run here is no trouble. */
  readonly enabled: "auto" | "yes";
}

/** As much of a child as is needed here. */
export interface AgentProcess {
  readonly pid: number;
  readonly exit: string | null;
  readonly errorText: string;
  /** Resolves when it is gone. */
  readonly ended: Promise<void>;
  line(fits: (line: string) => boolean, timeoutMs: number): Promise<string>;
  stop(withinMs: number): Promise<void>;
}

const firstBackoffMs = 1_000;
const backoffMaxMs = 60_000;
/** One that ran for so long was well: the next failure begins with the first backoff again. */
const wellAfterMs = 60_000;
const readyWithinMs = 30_000;
const stopWithinMs = 5_000;

/** Whether this process is to run it: with some roles only when told so, as several processes of one host would have one each. */
export function runsAgent(config: Config, roles: readonly Role[] | null): boolean {
  if (config.agent.enabled === "no") return false;
  return roles === null || (config.agent.enabled === "yes" && roles.includes("gateway"));
}

/**
 * What it makes lives for milliseconds or for good: more room for the former saves no processor time and costs 30 MB; and after a burst of
 * connections the room for the latter is given back sooner.
 */
export const agentNodeOptions: readonly string[] = ["--max-semi-space-size=2", "--heap-growing-percent=40"];

/** The program itself. */
export function agentProgram(options: { readonly gateway: string; readonly config: string | undefined }): ChildProgram {
  const config = options.config === undefined ? [] : ["--config", options.config];
  return new ChildProgram({
    name: "the agent",
    file: "services/main.js",
    arguments: ["agent", "--with-parent", "--gateway", options.gateway, ...config],
    nodeOptions: agentNodeOptions,
    failure: "INTERNAL",
  });
}

export class AgentChild {
  readonly #options: AgentChildOptions;
  #child: AgentProcess | null = null;
  #reason: string | null = "the agent is starting";
  #isStopped = false;
  /** It has observed: then that it cannot any more is told, whoever asked for it. */
  #hasObserved = false;
  #backoffMs = firstBackoffMs;
  #wake: () => void = () => undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: AgentChildOptions) {
    this.#options = options;
    if (options.enabled === "auto") this.#reason = null;
  }

  start(): void {
    this.#work = this.#keep();
  }

  /** Why it does not observe, as sentences; empty while it does, and where nobody asked for it. */
  reasons(): readonly string[] {
    return this.#reason === null ? [] : [this.#reason];
  }

  /** Of the one that runs now; null while none does. */
  get pid(): number | null {
    return this.#child === null || this.#child.exit !== null ? null : this.#child.pid;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake();
    await this.#child?.stop(stopWithinMs);
    await this.#work;
  }

  async #keep(): Promise<void> {
    while (!this.#isStopped) {
      const startedMs = this.#options.clock.nowMs();
      const child = this.#options.spawn();
      this.#child = child;
      const exit = await this.#watch(child);
      if (this.#isStopped) return;
      if (exit === `exit code ${exitCode.missing}` || exit === `exit code ${exitCode.usage}`) {
        this.#cannot(child);
        return;
      }
      if (this.#options.clock.nowMs() - startedMs >= wellAfterMs) this.#backoffMs = firstBackoffMs;
      this.#reason = `the agent ended (${exit}): what only the kernel tells is missing; it is started again`;
      this.#options.logger.warn({ reason: lastLine(child.errorText), exit }, "the agent ended and is started again");
      await this.#pause(this.#backoffMs);
      this.#backoffMs = Math.min(this.#backoffMs * 2, backoffMaxMs);
    }
  }

  /** Answers how it ended. */
  async #watch(child: AgentProcess): Promise<string> {
    const ready = child
      .line((line) => line === "ready", readyWithinMs)
      .then(
        () => {
          this.#reason = null;
          this.#hasObserved = true;
          this.#options.logger.info({ pid: child.pid }, "the agent observes the kernel");
        },
        () => undefined,
      );
    await child.ended;
    await ready;
    return child.exit ?? "unknown";
  }

  /** It says so itself, and trying again would not help. */
  #cannot(child: AgentProcess): void {
    const reason = lastLine(child.errorText).replace(/^headwater: /, "");
    if (this.#options.enabled === "yes" || this.#hasObserved) this.#reason = `the agent cannot run: ${reason}`;
    else this.#reason = null;
    this.#options.logger.info({ reason }, "no agent runs on this host: what only the kernel tells is missing");
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.schedule(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
