/** What watching costs a server: processor time per request and throughput, by each method in turn, round after round. */

import { readFileSync } from "node:fs";
import { HeadwaterError } from "../../contract/error.ts";
import { LabGroups } from "../../lab/cgroup.ts";
import { startNginx } from "../../lab/nginx.ts";
import { startRedis } from "../../lab/servers.ts";
import { type MethodName, startMethod, watchingHere } from "./method.ts";
import { median, type Row, row } from "./row.ts";
import { hasTool, runTool } from "./tool.ts";

export interface ServerCostOptions {
  /** Of one measurement. */
  readonly seconds: number;
  readonly rounds: number;
  readonly folder: string;
  readonly tell: (text: string) => void;
}

interface Loaded {
  readonly name: "nginx" | "redis";
  readonly pids: readonly number[];
  /** Puts as much load on it as it takes; answers requests and how long they took. */
  load(seconds: number, method: MethodName | "nothing"): Promise<{ requests: number; seconds: number }>;
  stop(): Promise<void>;
}

interface Sample {
  readonly cpuUs: number;
  readonly perSecond: number;
}

interface Pair {
  readonly bare: Sample;
  readonly watched: Sample;
}

type Pairs = Map<MethodName, Pair[]>;

const connections = 32;
/** Added processor time per request, µs. */
const cpuGoals: Partial<Record<MethodName, number>> = { L4: 1, L7: 1.6 };
/** Percent. */
const lossGoals: Partial<Record<MethodName, number>> = { everything: 5 };
const loadTools = [
  { tool: "wrk", package: "wrk" },
  { tool: "redis-benchmark", package: "redis-tools" },
];

/** Throws LAB_FAILED where a server or its load generator is not installed. */
export async function serverCost(options: ServerCostOptions): Promise<Row[]> {
  const missing = loadTools.filter(({ tool }) => !hasTool(tool));
  if (missing.length > 0) {
    const packages = missing.map((one) => one.package).join(" ");
    throw new HeadwaterError("LAB_FAILED", `${missing.map(({ tool }) => tool).join(", ")} missing (Debian: apt-get install ${packages})`);
  }
  const groups = LabGroups.open(process.pid);
  const rows: Row[] = [];
  try {
    for (const start of [startLoadedNginx, startLoadedRedis]) {
      const server = await start();
      try {
        for (const pid of server.pids) groups.placeServer(server.name, pid);
        rows.push(...rowsOf(server.name, await sample(server, groups, options)));
      } finally {
        await server.stop();
      }
    }
    return rows;
  } finally {
    await groups.close();
  }
}

/** Each measurement has one without anybody watching right beside it, before it and behind it in turn. */
async function sample(server: Loaded, groups: LabGroups, options: ServerCostOptions): Promise<Pairs> {
  const methods = watchingHere();
  const pairs: Pairs = new Map(methods.map((method) => [method, []]));
  await server.load(1, "nothing");
  for (let round = 0; round < options.rounds; round += 1) {
    for (let place = 0; place < methods.length; place += 1) {
      // Everyone follows everyone else once in a while, as a machine remembers what ran before.
      const method = methods[(place + round) % methods.length];
      if (method === undefined) continue;
      const before = round % 2 === 0 ? await measure(server, "nothing", { groups, ...options }) : null;
      const stop = await startMethod[method]({ pids: server.pids, folder: options.folder });
      const watched = await measure(server, method, { groups, ...options }).finally(stop);
      const bare = before ?? (await measure(server, "nothing", { groups, ...options }));
      pairs.get(method)?.push({ bare, watched });
      const figures = ({ cpuUs, perSecond }: Sample): string => `${cpuUs.toFixed(2)} µs at ${Math.round(perSecond)} requests/s`;
      options.tell(`${server.name}, round ${round + 1}, ${method}: ${figures(watched)}; unwatched ${figures(bare)}\n`);
    }
  }
  return pairs;
}

async function measure(server: Loaded, method: MethodName | "nothing", by: { groups: LabGroups; seconds: number }): Promise<Sample> {
  const before = by.groups.cpuUs(server.name);
  const { requests, seconds } = await server.load(by.seconds, method);
  return { cpuUs: (by.groups.cpuUs(server.name) - before) / requests, perSecond: requests / seconds };
}

function rowsOf(server: string, pairs: Pairs): Row[] {
  const bare = [...pairs.values()].flatMap((list) => list.map((pair) => pair.bare));
  const middle = (method: MethodName, figure: (pair: Pair) => number): number | null => {
    const list = pairs.get(method);
    return list === undefined ? null : median(list.map(figure));
  };
  const added = (method: MethodName): number | null => middle(method, (pair) => pair.watched.cpuUs - pair.bare.cpuUs);
  const lost = (method: MethodName): number | null => middle(method, (pair) => 100 * (1 - pair.watched.perSecond / pair.bare.perSecond));
  const rows = [
    row({ name: `${server}: CPU per request, unwatched`, value: median(bare.map(({ cpuUs }) => cpuUs)), unit: "µs" }),
    row({ name: `${server}: throughput, unwatched`, value: median(bare.map(({ perSecond }) => perSecond)), unit: "requests/s" }),
  ];
  for (const [figure, of] of [
    ["CPU added per request", { value: added, unit: "µs", goals: cpuGoals }],
    ["throughput lost", { value: lost, unit: "%", goals: lossGoals }],
  ] as const) {
    for (const method of pairs.keys()) {
      const value = of.value(method) ?? Number.NaN;
      const most = of.goals[method];
      const yardstick = isOurs(method) ? of.value("bpftrace") : null;
      rows.push(
        row({
          name: `${server}: ${figure}, ${method}`,
          value,
          unit: of.unit,
          yardstick,
          ...(most === undefined ? {} : { goal: { most } }),
        }),
      );
    }
  }
  return rows;
}

function isOurs(method: MethodName): boolean {
  return method !== "bpftrace" && method !== "strace";
}

async function startLoadedNginx(): Promise<Loaded> {
  const nginx = await startNginx({ server: 'location / { return 200 "hello"; }', logFormat: null, workers: 1 });
  return {
    name: "nginx",
    pids: [nginx.pid, ...childrenOf(nginx.pid)],
    load: async (seconds) => {
      const args = ["-t", "1", "-c", String(connections), "-d", `${seconds}s`, `${nginx.url}/`];
      const output = await runTool("wrk", args);
      const found = /(\d+) requests in ([\d.]+)(ms|s|m)/.exec(output);
      const unit = { ms: 0.001, s: 1, m: 60 }[found?.[3] ?? "s"] ?? 1;
      return { requests: Number(found?.[1]), seconds: Number(found?.[2]) * unit };
    },
    stop: () => nginx.stop(),
  };
}

async function startLoadedRedis(): Promise<Loaded> {
  const redis = await startRedis();
  /** It takes a number of requests, not a time, so that the number follows from how fast the method was before. */
  const rates = new Map<MethodName | "nothing", number>();
  const port = new URL(redis.url).port;
  const run = async (requests: number): Promise<{ requests: number; seconds: number }> => {
    const args = ["-h", "127.0.0.1", "-p", port, "-t", "get", "-c", String(connections), "-n", String(requests), "--csv"];
    const perSecond = Number(/"GET","([\d.]+)"/.exec(await runTool("redis-benchmark", args))?.[1]);
    return { requests, seconds: requests / perSecond };
  };
  return {
    name: "redis",
    pids: [redis.pid],
    load: async (seconds, method) => {
      const known = rates.get(method);
      const first = known === undefined ? await run(5_000) : null;
      const rate = known ?? 5_000 / (first?.seconds ?? 1);
      const done = await run(Math.max(5_000, Math.round(rate * seconds)));
      rates.set(method, done.requests / done.seconds);
      return first === null ? done : { requests: done.requests + first.requests, seconds: done.seconds + first.seconds };
    },
    stop: () => redis.stop(),
  };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}
