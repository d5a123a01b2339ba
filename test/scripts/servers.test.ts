import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { Client } from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { HeadwaterError } from "../../contract/error.ts";
import { findNeo4j } from "../../lab/neo4j-jars.ts";
import { findRedis } from "../../lab/servers.ts";
import { startNeo4j, startPostgres, startRedis, startServers } from "../../scripts/servers.ts";
import { until } from "../conformance/temporary.ts";

const started: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

function keep<T extends { stop(): Promise<void> }>(server: T): T {
  started.push(server);
  return server;
}

function ask(port: number, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(question));
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      socket.destroy();
      resolve(chunk.toString());
    });
  });
}

function isRunning(pid: number): boolean {
  try {
    // A process that has ended but was not reaped yet is in state Z.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => /^headwater-(redis|postgres|neo4j)-[A-Za-z0-9]{6}$/.test(name));

async function value(url: string, text: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const result = await client.query({ text, rowMode: "array" });
  await client.end();
  return result.rows[0]?.[0];
}

describe("servers for lab and tests", { timeout: 120_000 }, () => {
  it.runIf(findRedis() !== null)("starts Redis with the arguments asked for, and leaves no process and no folder", async () => {
    const before = folders();
    const redis = keep(await startRedis({ arguments: ["--appendonly", "yes", "--maxmemory-policy", "noeviction"] }));
    const port = Number(new URL(redis.url).port);
    expect(await ask(port, "CONFIG GET appendonly\r\n")).toContain("yes");
    expect(isRunning(redis.pid)).toBe(true);
    await redis.stop();
    await redis.stop();
    expect(isRunning(redis.pid)).toBe(false);
    expect(folders().filter((name) => !before.includes(name))).toEqual([]);
  });

  it("starts PostgreSQL of the npm package, whose installation it finishes itself", async () => {
    const postgres = keep(await startPostgres({ source: "embedded", connectionsMax: 7 }));
    expect(postgres.source).toBe("embedded");
    expect(await value(postgres.url, "SHOW max_connections")).toBe("7");
    await postgres.stop();
    expect(isRunning(postgres.pid)).toBe(false);
  });

  it.runIf(existsSync("/usr/lib/postgresql"))("starts both side by side, on ports of their own, and ends both", async () => {
    const servers = keep(await startServers({ postgres: { source: "installed" }, ...(findRedis() === null ? {} : { redis: {} }) }));
    expect(await value(servers.postgres!.url, "SELECT 1 + 1")).toBe(2);
    expect(servers.redis === null || servers.redis.url !== servers.postgres!.url).toBe(true);
    await servers.stop();
    expect([servers.redis?.pid ?? 0, servers.postgres!.pid].filter((pid) => pid > 0 && isRunning(pid))).toEqual([]);
  });

  it.runIf(findNeo4j() !== null)("starts Neo4j with a password, and leaves no process and no folder", async () => {
    const before = folders();
    const neo4j = keep(await startNeo4j({ password: "first, s3cret@home" }));
    expect(new URL(neo4j.url).username).toBe("neo4j");
    expect(decodeURIComponent(new URL(neo4j.url).password)).toBe("first, s3cret@home");
    expect(isRunning(neo4j.pid)).toBe(true);
    await neo4j.stop();
    expect(isRunning(neo4j.pid)).toBe(false);
    expect(folders().filter((name) => !before.includes(name))).toEqual([]);
  });

  it.runIf(findRedis() !== null)("prints, as a program, the block of a configuration, and ends its servers when told to", async () => {
    const child = spawn(process.execPath, ["--import", "tsx", "scripts/servers.ts", "--redis"], { stdio: ["ignore", "pipe", "ignore"] });
    const exitCode = new Promise((resolve) => child.once("exit", resolve));
    const text = await new Promise<string>((resolve) => child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString())));
    const { queue } = (parse(text) as { urls: { queue: string } }).urls;
    const port = Number(new URL(queue).port);
    expect(await ask(port, "CONFIG GET appendfsync\r\n")).toContain("everysec");
    expect(await ask(port, "CONFIG GET maxmemory-policy\r\n")).toContain("noeviction");
    child.kill("SIGTERM");
    expect(await exitCode).toBe(0);
    await expect(ask(port, "PING\r\n")).rejects.toThrow();
  });

  it("names what is missing and how to install it, and ends with 3", () => {
    const run = spawnSync(process.execPath, ["--import", "tsx", "scripts/servers.ts", "--redis", "--neo4j"], {
      env: { ...process.env, PATH: "/nowhere", XDG_CACHE_HOME: "/nowhere" },
      encoding: "utf8",
    });
    expect(run.status).toBe(3);
    expect(run.stdout).toBe("");
    expect(run.stderr).toMatch(
      /^Redis is missing: .*apt-get install redis-server.*\nNeo4j is missing: .*openjdk-17-jre-headless maven.*\n$/,
    );
  });

  it("says what is missing where there is no redis-server", async () => {
    const path = process.env.PATH;
    process.env.PATH = "/nowhere";
    try {
      await expect(startRedis()).rejects.toThrow(HeadwaterError);
      await expect(startRedis()).rejects.toMatchObject({ code: "LAB_FAILED", message: expect.stringContaining("redis-server") });
    } finally {
      process.env.PATH = path;
    }
  });

  it("ends the servers and removes their data when their starter dies of SIGKILL", async () => {
    const before = folders();
    const child = spawn(process.execPath, ["--import", "tsx", "scripts/servers.ts", "--postgres", "--json"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const line = await new Promise<string>((resolve) => child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString())));
    const { postgres } = JSON.parse(line) as { postgres: string };
    const pid = Number(await value(postgres, "SELECT pg_backend_pid()"));
    expect(pid).toBeGreaterThan(0);
    const fresh = folders().filter((name) => !before.includes(name));
    expect(fresh.length).toBeGreaterThan(0);
    child.kill("SIGKILL");
    await until("the folders are gone", () => folders().every((name) => !fresh.includes(name)), 30_000);
    await expect(value(postgres, "SELECT 1")).rejects.toThrow();
  });
});
