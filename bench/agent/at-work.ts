/** What the agent itself uses: at rest, at a steady rate of requests, and whether its memory grows meanwhile. */
import { setTimeout as pause } from "node:timers/promises";
import { startNginx } from "../../lab/nginx.ts";
import { startRedis } from "../../lab/servers.ts";
import { BenchAgent } from "./agent-child.ts";
import { progressOf, startPacedLoad } from "./paced-load.ts";
import { median, type Row, row } from "./row.ts";

export interface AtWorkOptions {
  /** At rest. */
  readonly seconds: number;
  /** Under load. */
  readonly minutes: number;
  readonly folder: string;
  readonly tell: (text: string) => void;
}

const perSecond = 5_000;
/** Everything is read once before it counts. */
const settleMs = 5_000;
const lookEveryMs = 5_000;
const restGoalPercent = 1;
const loadGoalPercent = 5;
const memoryGoalMb = 150;
/** Of the median of the last quarter over the second one; less is noise of the garbage collector. */
const growthGoalMb = 5;
const mb = 1_048_576;

export async function atWork(options: AtWorkOptions): Promise<Row[]> {
  const agent = await BenchAgent.start({ folder: options.folder, budget: "default" });
  try {
    await pause(settleMs);
    const rest = await cpuPercent(agent, options.seconds * 1_000);
    options.tell(`the agent at rest: ${rest.toFixed(2)} % of a core\n`);
    const load = await underLoad(agent, options);
    const inMb = load.memory.map((bytes) => bytes / mb);
    const quarter = Math.max(1, Math.floor(inMb.length / 4));
    const growth = median(inMb.slice(-quarter)) - median(inMb.slice(quarter, 2 * quarter));
    return [
      row({ name: "agent: CPU at rest", value: rest, unit: "% of a core", goal: { most: restGoalPercent } }),
      row({ name: "agent: requests it was given", value: load.perSecond, unit: "requests/s", yardstick: perSecond }),
      row({ name: "agent: CPU at that rate", value: load.cpu, unit: "% of a core", goal: { most: loadGoalPercent } }),
      row({ name: "agent: times it gave something up or took it back", value: agent.levelChanges(), unit: "times", goal: { most: 0 } }),
      row({
        name: `agent: memory after ${options.minutes} min`,
        value: inMb.at(-1) ?? Number.NaN,
        unit: "MiB",
        goal: { most: memoryGoalMb },
      }),
      row({ name: "agent: memory grown in the second half", value: growth, unit: "MiB", goal: { most: growthGoalMb } }),
    ];
  } finally {
    await agent.stop();
  }
}

async function cpuPercent(agent: BenchAgent, ms: number): Promise<number> {
  const [before, begun] = [agent.usage().cpuMs, performance.now()];
  await pause(ms);
  return (100 * (agent.usage().cpuMs - before)) / (performance.now() - begun);
}

/** Half of the requests to each of two servers; the kernel tells of both ends of each, as the load is made on this host. */
async function underLoad(agent: BenchAgent, options: AtWorkOptions): Promise<{ cpu: number; perSecond: number; memory: number[] }> {
  const nginx = await startNginx({ server: 'location / { return 200 "hello"; }', logFormat: null, workers: 1 });
  const redis = await startRedis();
  const half = perSecond / 2;
  const load = startPacedLoad([
    { port: nginx.port, request: "GET /item/1 HTTP/1.1\r\nHost: x\r\n\r\n", answerEnd: "hello", perSecond: half },
    { port: Number(new URL(redis.url).port), request: "*2\r\n$3\r\nGET\r\n$4\r\nitem\r\n", answerEnd: "$-1\r\n", perSecond: half },
  ]);
  try {
    await pause(settleMs);
    const memory: number[] = [];
    const [before, cpuBefore, begun] = [progressOf(load), agent.usage().cpuMs, performance.now()];
    const end = begun + options.minutes * 60_000;
    for (let at = begun; at < end; at = performance.now()) {
      await pause(Math.min(lookEveryMs, end - at));
      const usage = agent.usage();
      memory.push(usage.memoryBytes);
      const percent = (100 * (usage.cpuMs - cpuBefore)) / (performance.now() - begun);
      options.tell(`the agent under load: ${percent.toFixed(2)} % of a core, ${(usage.memoryBytes / mb).toFixed(0)} MiB\n`);
    }
    const after = progressOf(load);
    const perSecond = ((after.answered - before.answered) * 1_000) / (after.ms - before.ms);
    return { cpu: (100 * (agent.usage().cpuMs - cpuBefore)) / (performance.now() - begun), perSecond, memory };
  } finally {
    await load.stop();
    await Promise.all([nginx.stop(), redis.stop()]);
  }
}
