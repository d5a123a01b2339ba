/**
 * What the agent makes of real traffic against what the servers themselves counted: nginx's access log, Redis' counters and PostgreSQL's, all at
 * once. Runs for a few seconds; `HEADWATER_TEST_FULL=yes` for as long as a rate needs to be one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LabGroups } from "../../lab/cgroup.ts";
import { findNginx, type RunningNginx, startNginx } from "../../lab/nginx.ts";
import { findRedis, postgresMissing, type RunningPostgres, startPostgres, startRedis } from "../../lab/servers.ts";
import type { ObservedExchange } from "../../services/agent/observed-exchange.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { inFlight, type LoadPlan, type LoadReport } from "./kernel-load.ts";
import { KernelObserver } from "./kernel-observer.ts";

const isFull = process.env.HEADWATER_TEST_FULL === "yes";
const skipReason =
  noKernelPrograms ??
  (findNginx() === null ? "nginx is not installed" : null) ??
  (findRedis() === null ? "redis-server is not installed" : null) ??
  postgresMissing();
if (skipReason !== null) process.stdout.write(`test/scenario/kernel-truth.test.ts: ${skipReason}\n`);
const suite = skipReason === null ? describe : describe.skip;

const rate = { http: 2_000, redis: 1_000, multiplexedPerSecond: 1_000, postgres: 1_000 };
const seconds = isFull ? 20 : 3;
const perSecond = rate.http + rate.redis + rate.multiplexedPerSecond + rate.postgres;
/** Of a rate that counts as reached: other work on the machine makes a load late. */
const rateShare = 0.9;
const capturedMin = 0.99;
/** Full again and again between two readings at this rate. */
const tooSmallBytes = 16_384;

/** How often each operation ended how: `http GET /item/{id} 200`. */
type Tally = Map<string, number>;

interface Run {
  readonly report: LoadReport;
  /** What the servers say, by protocol. */
  readonly truth: Readonly<Record<"http" | "redis" | "postgresql", Tally>>;
  readonly exchanges: readonly ObservedExchange[];
  readonly dependencies: ReadonlyMap<ObservedExchange, string>;
  readonly losses: ReadonlyMap<string, number>;
  /** Status of each request of a connection to nginx in order, by the client's port. */
  readonly served: ReadonlyMap<number, readonly string[]>;
}

suite(`the agent beside the servers' own counters${skipReason === null ? "" : `: ${skipReason}`}`, () => {
  let nginx: RunningNginx;
  let redis: { url: string; pid: number; stop(): Promise<void> };
  let postgres: RunningPostgres;
  let groups: LabGroups;

  beforeAll(async () => {
    groups = LabGroups.open(process.pid);
    [nginx, redis, postgres] = await Promise.all([
      startNginx({ server: locations, logFormat: "$remote_port $status $request_method $uri", workers: 2 }),
      startRedis(),
      startPostgres({ settings: { shared_preload_libraries: "pg_stat_statements" } }),
    ]);
    groups.placeServer("nginx", nginx.pid);
    groups.placeServer("redis", redis.pid);
    groups.placeServer("postgresql", postgres.pid);
    await withPostgres(postgres.url, async (client) => {
      await client.query("CREATE EXTENSION pg_stat_statements");
      for (const [table, column] of [
        ["item", "price"],
        ["stock", "amount"],
      ]) {
        await client.query(`CREATE TABLE ${table} (id int PRIMARY KEY, ${column} int NOT NULL)`);
        await client.query(`INSERT INTO ${table} SELECT id, 0 FROM generate_series(1, 50) id`);
      }
    });
  }, 60_000);
  afterAll(async () => {
    await Promise.all([nginx?.stop(), redis?.stop(), postgres?.stop()]);
    await groups?.close();
  });

  describe.each(["best", "fallback"] as const)("with the %s programs for requests", (requests) => {
    let run: Run;
    beforeAll(async () => {
      run = await observed(requests);
      process.stdout.write(`${requests}: ${summary(run)}\n`);
    }, 120_000);

    it("sees every request that was made", () => {
      expect(run.report.answered).toBe(run.report.asked);
      expect(countOf(run.truth.http) + countOf(run.truth.redis) + countOf(run.truth.postgresql)).toBe(run.report.asked);
      if (isFull) expect(run.report.asked / run.report.seconds).toBeGreaterThan(perSecond * rateShare);
    });

    it.each(["http", "redis", "postgresql"] as const)(
      "has of %s 99 of 100 or more with the right status and dependency, at both ends",
      (protocol) => {
        for (const side of ["client", "server"] as const) {
          const { right, invented, total } = compared(run, protocol, side);
          expect([...invented]).toEqual([]);
          expect(right / total).toBeGreaterThanOrEqual(capturedMin);
        }
      },
    );

    it("accounts for everything else by the counters of what was lost", () => {
      const lost = [...run.losses.values()].reduce((sum, count) => sum + count, 0);
      for (const side of ["client", "server"] as const) {
        const missing = (["http", "redis", "postgresql"] as const)
          .map((protocol) => compared(run, protocol, side))
          .map(({ right, total }) => total - right);
        expect(missing.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(lost);
      }
    });

    it("tells the requests of each connection to nginx in the order of its log", () => {
      const seen = new Map<number, ObservedExchange[]>();
      for (const one of run.exchanges) {
        if (one.side !== "server" || one.exchange.protocol !== "http") continue;
        const port = one.end?.remote.port ?? 0;
        seen.set(port, [...(seen.get(port) ?? []), one]);
      }
      let same = 0;
      for (const [port, statuses] of run.served) {
        const own = (seen.get(port) ?? []).sort((left, right) => left.exchange.startNs - right.exchange.startNs);
        same += statuses.filter((status, index) => own[index]?.exchange.status === status).length;
      }
      expect(same / run.report.asked).toBeGreaterThanOrEqual((countOf(run.truth.http) / run.report.asked) * capturedMin);
    });

    it(`is exact to 1 % where ${inFlight} commands of Redis are in flight on one connection`, () => {
      const { port, asked } = run.report.multiplexed;
      for (const side of ["client", "server"] as const) {
        const own = run.exchanges.filter(
          ({ side: at, end }) => at === side && (side === "client" ? end?.local.port : end?.remote.port) === port,
        );
        expect(Math.abs(own.length - asked) / asked).toBeLessThanOrEqual(0.01);
        if (side === "client") expect(inFlightMost(own)).toBe(inFlight);
      }
    });
  });

  it("counts each record that a full ring had no room for, and makes nothing up for it", async () => {
    const run = await observed("best", tooSmallBytes);
    process.stdout.write(`a ring of ${tooSmallBytes} bytes: ${summary(run)}\n`);
    const lost = run.losses.get("kernel-data-ring") ?? 0;
    expect(lost).toBeGreaterThan(0);
    const sides = (["client", "server"] as const).map((side) => compared(run, "http", side));
    // One record is one request of HTTP; of what is told in pieces, one record may hold many.
    expect(sides.reduce((sum, { right, total }) => sum + total - right, 0)).toBeLessThanOrEqual(lost);
    expect(sides.flatMap(({ invented }) => [...invented])).toEqual([]);
    for (const protocol of ["redis", "postgresql"] as const) {
      for (const side of ["client", "server"] as const) expect([...compared(run, protocol, side).invented]).toEqual([]);
    }
  }, 120_000);

  async function observed(requests: "best" | "fallback", dataRingBytes?: number): Promise<Run> {
    await resetCounters();
    const logBytes = readFileSync(nginx.log).length;
    const load = startLoad({
      seconds,
      http: { port: nginx.port, perSecond: rate.http },
      redis: { port: portOf(redis.url), perSecond: rate.redis, multiplexedPerSecond: rate.multiplexedPerSecond },
      postgres: { port: portOf(postgres.url), perSecond: rate.postgres },
    });
    expect(await load.line()).toBe("ready");
    groups.placeServer("shop", load.child.pid ?? 0);
    const observer = await KernelObserver.open({ group: groups.path, requests, ...(dataRingBytes !== undefined && { dataRingBytes }) });
    try {
      load.child.stdin?.write("go\n");
      const report = JSON.parse(await load.line()) as LoadReport;
      await observer.settle();
      const dependencies = new Map(observer.exchanges.map((one) => [one, dependencyOf(observer, one)]));
      await observer.close();
      load.child.stdin?.write("end\n");
      await once(load.child, "exit");
      const lines = readFileSync(nginx.log, "utf8").slice(logBytes).trim().split("\n");
      const truth = { http: httpTruth(lines), redis: await redisTruth(redis.url), postgresql: await postgresTruth(postgres.url) };
      return { report, truth, exchanges: observer.exchanges, dependencies, losses: observer.losses, served: servedOf(lines) };
    } finally {
      load.child.kill("SIGKILL");
      await observer.close();
    }
  }

  async function resetCounters(): Promise<void> {
    const client = new Redis(redis.url);
    await client.flushall();
    await client.set("text", "not a list");
    await client.config("RESETSTAT");
    await client.quit();
    await withPostgres(postgres.url, async (database) => {
      await database.query("SELECT pg_stat_reset(), pg_stat_statements_reset()");
    });
  }

  /** `shop > nginx`, as both ends of the connection and who they are say. */
  function dependencyOf({ parts, nowNs }: KernelObserver, { end, who, side }: ObservedExchange): string {
    const peer = end === null ? null : parts.connections.peerOf(end, nowNs);
    const other =
      peer === null
        ? null
        : side === "client"
          ? parts.identities.ofServer(peer.tgid, 0n, peer.local, nowNs)
          : parts.identities.of(peer.tgid, 0n, nowNs);
    const [caller, callee] = side === "client" ? [who, other] : [other, who];
    return `${caller?.name ?? "?"} > ${callee?.name ?? "?"}`;
  }

  function compared(run: Run, protocol: keyof Run["truth"], side: "client" | "server"): { right: number; invented: Tally; total: number } {
    const server = {
      http: "nginx",
      redis: `redis@127.0.0.1:${portOf(redis.url)}`,
      postgresql: `postgresql@127.0.0.1:${portOf(postgres.url)}`,
    };
    const truth = run.truth[protocol];
    const invented: Tally = new Map();
    const seen: Tally = new Map();
    for (const one of run.exchanges) {
      if (one.exchange.protocol !== protocol || one.side !== side) continue;
      const key = `${one.exchange.operation} ${one.exchange.status}`;
      const dependency = run.dependencies.get(one) ?? "";
      if (dependency === `shop > ${server[protocol]}`) add(seen, key);
      else add(invented, dependency);
    }
    let right = 0;
    for (const [key, count] of seen) {
      const real = truth.get(key) ?? 0;
      right += Math.min(count, real);
      if (count > real) add(invented, key, count - real);
    }
    return { right, invented, total: countOf(truth) };
  }

  function summary(run: Run): string {
    const shares = (["http", "redis", "postgresql"] as const).flatMap((protocol) =>
      (["client", "server"] as const).map((side) => {
        const { right, total } = compared(run, protocol, side);
        return `${protocol} ${side} ${right}/${total}`;
      }),
    );
    const losses = [...run.losses].map(([where, count]) => `${where} ${count}`);
    return `${Math.round(run.report.asked / run.report.seconds)} requests/s; ${shares.join(", ")}; lost: ${losses.join(", ") || "nothing"}`;
  }
});

const locations = `
  location /item/ { return 200 "an item"; }
  location /missing/ { return 404; }
  location = /broken { return 503; }
  location /moved/ { return 302 http://127.0.0.1/item/1; }
  location = /large { return 200 "${"large ".repeat(500)}"; }
  location = / { return 200 "ready"; }
`;

function startLoad(plan: LoadPlan): { child: ChildProcess; line(): Promise<string> } {
  const script = join(import.meta.dirname, "kernel-load.ts");
  const child = spawn(process.execPath, ["--import", "tsx", script, JSON.stringify(plan)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout ?? expect.fail("no output") })[Symbol.asyncIterator]();
  return {
    child,
    line: async () => {
      const { value, done } = await lines.next();
      return done ? expect.fail("the load ended early") : value;
    },
  };
}

function httpTruth(lines: readonly string[]): Tally {
  const tally: Tally = new Map();
  for (const line of lines) {
    const [, status, method, uri = ""] = line.split(" ");
    add(tally, `${method} ${uri.replace(/\d+/, "{id}")} ${status}`);
  }
  return tally;
}

function servedOf(lines: readonly string[]): Map<number, string[]> {
  const served = new Map<number, string[]>();
  for (const line of lines) {
    const [port, status = ""] = line.split(" ");
    const statuses = served.get(Number(port)) ?? [];
    statuses.push(status);
    served.set(Number(port), statuses);
  }
  return served;
}

async function redisTruth(url: string): Promise<Tally> {
  const client = new Redis(url);
  const stats = await client.info("commandstats");
  await client.quit();
  const tally: Tally = new Map();
  for (const [, name = "", calls, failed] of stats.matchAll(/cmdstat_(\w+):calls=(\d+),.*failed_calls=(\d+)/g)) {
    if (!["get", "set", "incr", "lpush"].includes(name)) continue;
    if (Number(calls) > Number(failed)) add(tally, `${name.toUpperCase()} OK`, Number(calls) - Number(failed));
    if (Number(failed) > 0) add(tally, `${name.toUpperCase()} WRONGTYPE`, Number(failed));
  }
  return tally;
}

async function postgresTruth(url: string): Promise<Tally> {
  const tally: Tally = new Map();
  await withPostgres(url, async (client) => {
    const others = "SELECT count(*)::int AS count FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    // A backend hands in its counts of transactions when it ends.
    while ((await client.query(others)).rows[0].count > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const statements = await client.query("SELECT query, calls::int AS calls FROM pg_stat_statements WHERE query ~ '(item|stock)'");
    for (const { query, calls } of statements.rows as { query: string; calls: number }[]) {
      const found = /^(SELECT|UPDATE) (?:\w+ FROM )?(item|stock)/.exec(query);
      if (found !== null) add(tally, `${found[1]} ${found[2]} OK`, calls);
    }
    const database = await client.query("SELECT xact_rollback::int AS count FROM pg_stat_database WHERE datname = 'postgres'");
    add(tally, "SELECT missing 42P01", database.rows[0].count);
  });
  return tally;
}

async function withPostgres(url: string, act: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await act(client);
  } finally {
    await client.end();
  }
}

function add(tally: Tally, key: string, count = 1): void {
  tally.set(key, (tally.get(key) ?? 0) + count);
}

function countOf(tally: Tally): number {
  return [...tally.values()].reduce((sum, count) => sum + count, 0);
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** Exchanges that were under way at one moment. */
function inFlightMost(exchanges: readonly ObservedExchange[]): number {
  const steps = exchanges.flatMap(({ exchange }) => [
    { atNs: exchange.startNs, step: 1 },
    { atNs: exchange.endNs, step: -1 },
  ]);
  steps.sort((left, right) => left.atNs - right.atNs || left.step - right.step);
  let now = 0;
  let most = 0;
  for (const { step } of steps) {
    now += step;
    most = Math.max(most, now);
  }
  return most;
}
