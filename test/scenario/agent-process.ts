/** Run as `node --import tsx agent-process.ts <plan as JSON>`: `headwater agent` from its sources, until its standard input ends. */
import { runAgent } from "../../services/command/agent.ts";
import { startFromTypeScript } from "../services/agent/typescript-worker.ts";

export interface AgentProcessPlan {
  /** A configuration file. */
  readonly config: string;
  readonly gateway: string;
}

const plan = JSON.parse(process.argv[2] ?? "{}") as AgentProcessPlan;
await runAgent({ ...plan, withParent: "yes", format: "text", startWorker: startFromTypeScript });
