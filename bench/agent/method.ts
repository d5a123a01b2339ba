/** What may watch a server while it is loaded: parts of us, all of us, and the tools that everybody has. */
import { eventLayout } from "../../services/agent/event-layout.generated.ts";
import { BenchAgent } from "./agent-child.ts";
import { BenchKernel } from "./kernel.ts";
import { hasTool, RunningTool } from "./tool.ts";

const methodNames = ["L4", "L7", "everything", "bpftrace", "strace"] as const;
export type MethodName = (typeof methodNames)[number];

export interface Watched {
  /** Processes of the server. */
  readonly pids: readonly number[];
  readonly folder: string;
}

/** Ends it. */
type Stop = () => Promise<void>;

const ringEveryMs = 20;
const mapsEveryMs = 1_000;
/** Latencies of all system calls of the machine, which is what people type first. */
const histogram = `BEGIN { printf("begun\\n"); }
tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns = hist(nsecs - @start[tid]); delete(@start[tid]); }`;
/** Where they are not mounted, in a mount namespace of its own, so that the machine stays as it is. */
const withTracing = `[ -d /sys/kernel/debug/tracing ] || mount -t debugfs none /sys/kernel/debug
[ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing
exec bpftrace -e "$1"`;

/** Which of them can be run here. */
export function watchingHere(): MethodName[] {
  return methodNames.filter((name) => (name !== "bpftrace" && name !== "strace") || hasTool(name));
}

export const startMethod: Readonly<Record<MethodName, (watched: Watched) => Promise<Stop>>> = {
  L4: () => startKernel(["connection", "socket-iterator"], 1),
  L7: () => startKernel(["connection", "socket-iterator", "request"], 3),
  everything: async ({ folder }) => {
    const agent = await BenchAgent.start({ folder, budget: "lifted" });
    return () => agent.stop();
  },
  bpftrace: async () => {
    const tool = new RunningTool("unshare", ["--mount", "sh", "-c", withTracing, "sh", histogram]);
    await tool.says("begun");
    return () => tool.stop();
  },
  strace: async ({ pids }) => {
    const tool = new RunningTool("strace", ["-f", "-c", "-o", "/dev/null", ...pids.flatMap((pid) => ["-p", String(pid)])]);
    await tool.says("attached");
    return () => tool.stop();
  },
};

async function startKernel(objects: readonly string[], level: number): Promise<Stop> {
  const kernel = await BenchKernel.open({
    objects,
    settings: { level, chunkBytesMax: 16_384 },
    rings: ["data_ring", "lifecycle_ring"].map((name) => ({ name, by: "timer", everyMs: ringEveryMs })),
    ringBytes: { data_ring: 8_388_608, lifecycle_ring: 1_048_576 },
    maps: [{ name: "flows", everyMs: mapsEveryMs, before: { program: "hw_read_flows", map: "connections" } }],
    // What reaches JavaScript is touched, no more: the cost of the agent's own work is measured by itself.
    onBatch: ({ bytes }) => void bytes[bytes.length - eventLayout.header.structBytes],
  });
  return () => kernel.close();
}
