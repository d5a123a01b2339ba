/** The agent as people run it: a process of its own, with its defaults, that sends to somebody who throws it all away. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { HeadwaterError } from "../../contract/error.ts";
import { agentNodeOptions } from "../../services/command/agent-child.ts";
import { ChildProgram } from "../../services/command/child-program.ts";

const readyWithinMs = 30_000;
const stopWithinMs = 5_000;
/** Of `/proc/PID/stat` on every Linux that matters here (USER_HZ). */
const tickMs = 10;
const pageBytes = 4_096;

export interface AgentUsage {
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

export class BenchAgent {
  readonly #child: ChildProgram;
  readonly #gateway: Server;

  private constructor(child: ChildProgram, gateway: Server) {
    this.#child = child;
    this.#gateway = gateway;
  }

  /** `budget` `lifted`: it gives nothing up however much it uses, so that all of it is measured. */
  static async start(options: { folder: string; budget: "default" | "lifted" }): Promise<BenchAgent> {
    const gateway = createServer((request, response) => {
      request.resume();
      request.on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
    });
    await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", resolve));
    const address = gateway.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const config = join(options.folder, "agent.yaml");
    const agent = options.budget === "lifted" ? { cpuBudget: 64 } : {};
    writeFileSync(config, JSON.stringify({ apiVersion: "headwater/v1", kind: "Configuration", spec: { logLevel: "warn", agent } }));
    const child = new ChildProgram({
      name: "the agent",
      file: "services/main.js",
      arguments: ["agent", "--json", "--with-parent", "--gateway", `http://127.0.0.1:${port}`, "--config", config],
      nodeOptions: agentNodeOptions,
      failure: "LAB_FAILED",
    });
    const started = new BenchAgent(child, gateway);
    try {
      await child.line((line) => line.includes('"ready":true'), readyWithinMs);
      return started;
    } catch (error) {
      await started.stop().catch(() => undefined);
      throw error;
    }
  }

  /** Since its start, with all of its threads. */
  usage(): AgentUsage {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    const pages = Number(readFileSync(`/proc/${this.#child.pid}/statm`, "utf8").split(" ")[1]);
    return { cpuMs: ticks * tickMs, memoryBytes: pages * pageBytes };
  }

  /** How often it changed what it observes, because it was over its budget. */
  levelChanges(): number {
    return this.#child.errorText.split("the agent observes on another level").length - 1;
  }

  /** Throws LAB_FAILED when it had ended before, or has seen nothing: then nothing was measured. */
  async stop(): Promise<void> {
    const early = this.#child.exit;
    await this.#child.stop(stopWithinMs);
    this.#gateway.closeAllConnections();
    await new Promise<void>((resolve) => this.#gateway.close(() => resolve()));
    if (early !== null) throw new HeadwaterError("LAB_FAILED", `the agent ended (${early}): ${this.#child.errorText.slice(-500)}`);
    const total = JSON.parse(await this.#child.line((line) => line.includes('"ended":true'), 0)) as { exchanges: number };
    if (total.exchanges === 0) throw new HeadwaterError("LAB_FAILED", "the agent has seen no request");
  }
}
