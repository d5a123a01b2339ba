/** The agent beside a lab: it watches the shop's control groups and nothing else, and tells every second. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { HeadwaterError } from "../../contract/error.ts";
import { agentProgram } from "./agent-child.ts";
import type { LabEvent } from "./lab-process.ts";

const readyWaitMs = 60_000;
const stopWaitMs = 10_000;
const intervalMs = 1_000;
/** A lab's machine is busy with the shop and the platform, too; what is given up for their sake would be missed in the verdict. */
const cpuBudget = 0.25;
const memoryMaxMb = 400;

export interface LabAgentOptions {
  /** Of the lab's event `ready`. */
  readonly ready: LabEvent;
  readonly gateway: string;
  /** For its configuration; the caller removes it. */
  readonly directory: string;
}

export interface LabAgent {
  readonly pid: number;
  /** Throws LAB_FAILED when it has ended by itself. */
  check(): void;
  stop(): Promise<void>;
}

/** Resolves when it observes. Throws LAB_FAILED with what it said. */
export async function startLabAgent(options: LabAgentOptions): Promise<LabAgent> {
  const { cgroup } = options.ready;
  if (typeof cgroup !== "string")
    throw new HeadwaterError(
      "LAB_FAILED",
      "the shop could not make control groups and a firewall table, without which the kernel does not tell its services apart",
    );
  const config = join(options.directory, "agent.yaml");
  const spec = { logLevel: "warn", agent: { cgroups: [cgroup], intervalMs, cpuBudget, memoryMaxMb } };
  writeFileSync(config, stringify({ apiVersion: "headwater/v1", kind: "Configuration", spec }));
  const program = agentProgram({ gateway: options.gateway, config });
  const failed = (what: string): HeadwaterError =>
    new HeadwaterError("LAB_FAILED", `the agent ${what}: ${program.errorText.slice(-1_000)}`);
  try {
    await program.line((line) => line === "ready", readyWaitMs);
  } catch {
    await program.stop(stopWaitMs);
    throw failed(`does not observe the kernel (${program.exit ?? "it did not say that it is ready"})`);
  }
  return {
    pid: program.pid,
    check: () => {
      if (program.exit !== null) throw failed(`ended (${program.exit})`);
    },
    stop: () => program.stop(stopWaitMs),
  };
}
