/** A whole distributed installation for a demo, a drill or a test: real servers, and every role a process of its own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import { allRoles, type Role } from "../role.ts";
import { ChildProgram } from "./child-program.ts";
import { labSpec } from "./lab-config.ts";

const serversWaitMs = 120_000;
const roleWaitMs = 60_000;
const stopWaitMs = 15_000;

const ServerUrls = z.object({ redis: z.string(), neo4j: z.string(), postgres: z.string() });
/** Where the servers of an installation are. */
export type ServerUrls = z.infer<typeof ServerUrls>;

export interface DistributedOptions {
  /** An empty folder for configuration and data; the caller removes it. */
  readonly directory: string;
  readonly say: (text: string) => void;
  /** Servers that run already; without them real ones are started, and ended again. */
  readonly urls?: ServerUrls;
  /** Processes of each role; one unless told. */
  readonly processCount?: Partial<Record<Role, number>>;
}

/** A running installation. `stop` ends every process and server that it started. */
export class DistributedPlatform {
  readonly otlpUrl: string;
  readonly apiUrl: string;
  readonly configFile: string;
  readonly urls: ServerUrls;
  readonly #servers: ChildProgram | null;
  readonly #processes = new Map<Role, ChildProgram[]>();

  private constructor(parts: { servers: ChildProgram | null; urls: ServerUrls } & Configuration) {
    this.#servers = parts.servers;
    this.urls = parts.urls;
    this.otlpUrl = parts.otlpUrl;
    this.apiUrl = parts.apiUrl;
    this.configFile = parts.configFile;
  }

  /** Starts the servers, then the roles, each ready before this resolves. Throws DEMO_FAILED naming what did not start. */
  static async start(options: DistributedOptions): Promise<DistributedPlatform> {
    const { servers, urls } = await startServers(options);
    const platform = new DistributedPlatform({ servers, urls, ...(await writeConfiguration(options.directory, urls)) });
    try {
      await platform.#runAll(options.processCount ?? {});
      options.say(
        `roles    ${platform
          .processes()
          .map(({ role, pid }) => `${role} ${pid}`)
          .join(", ")}`,
      );
      return platform;
    } catch (error) {
      await platform.stop();
      throw error;
    }
  }

  /** The store first, since others open it; the rest at once, so that their starts overlap. */
  async #runAll(processCount: Partial<Record<Role, number>>): Promise<void> {
    const wanted = allRoles.flatMap((role) => Array.from({ length: processCount[role] ?? 1 }, () => role));
    for (const role of wanted) if (role === "store") await this.run(role);
    await Promise.all(wanted.filter((role) => role !== "store").map((role) => this.run(role)));
  }

  /** Starts one more process of a role. */
  async run(role: Role): Promise<ChildProgram> {
    const started = new ChildProgram({
      name: `role ${role}`,
      file: "services/main.js",
      arguments: ["start", "--config", this.configFile, "--role", role, "--health-port", "0"],
      failure: "DEMO_FAILED",
    });
    this.#processes.set(role, [...(this.#processes.get(role) ?? []), started]);
    await started.line((line) => line === "ready", roleWaitMs);
    return started;
  }

  /** The running programs of a role. */
  programs(role: Role): readonly ChildProgram[] {
    return (this.#processes.get(role) ?? []).filter(({ exit }) => exit === null);
  }

  processes(): { role: Role; pid: number; exit: string | null }[] {
    return [...this.#processes].flatMap(([role, programs]) => programs.map(({ pid, exit }) => ({ role, pid, exit })));
  }

  /** Throws DEMO_FAILED when a process has ended by itself. */
  check(): void {
    for (const [role, programs] of this.#processes) {
      for (const program of programs) {
        if (program.exit === null) continue;
        throw new HeadwaterError("DEMO_FAILED", `the process of role ${role} ended (${program.exit}): ${program.errorText.slice(-1_000)}`);
      }
    }
  }

  async stop(): Promise<void> {
    const inOrder: readonly Role[] = ["gateway", "ingest", "detection", "topology", "incident", "ranking", "api", "store"];
    // Writers before readers and the store last, so that each can hand on what it has begun.
    for (const role of inOrder) await Promise.all((this.#processes.get(role) ?? []).map((program) => program.stop(stopWaitMs)));
    await this.#servers?.stop(stopWaitMs);
  }
}

async function startServers(options: DistributedOptions): Promise<{ servers: ChildProgram | null; urls: ServerUrls }> {
  if (options.urls !== undefined) return { servers: null, urls: options.urls };
  options.say("servers  Redis, Neo4j and PostgreSQL are starting");
  const servers = new ChildProgram({
    name: "servers",
    file: "scripts/servers.js",
    arguments: ["--json", "--while-input"],
    failure: "DEMO_FAILED",
  });
  try {
    const urls = ServerUrls.parse(JSON.parse(await servers.line((line) => line.startsWith("{"), serversWaitMs)));
    options.say(`servers  ${Object.values(urls).join("  ")}`);
    return { servers, urls };
  } catch (error) {
    await servers.stop(stopWaitMs);
    throw error;
  }
}

interface Configuration {
  readonly otlpUrl: string;
  readonly apiUrl: string;
  readonly configFile: string;
}

async function writeConfiguration(directory: string, urls: ServerUrls): Promise<Configuration> {
  const data = join(directory, "data");
  mkdirSync(data, { recursive: true });
  const [gateway, api, store] = [await freePort(), await freePort(), await freePort()];
  const spec = {
    ...labSpec(data),
    gateway: { port: gateway },
    api: { port: api },
    store: { port: store },
    urls: { queue: urls.redis, graph: urls.neo4j, events: urls.postgres, telemetry: `http://127.0.0.1:${store}` },
  };
  const configFile = join(directory, "headwater.yaml");
  writeFileSync(configFile, stringify({ apiVersion: "headwater/v1", kind: "Configuration", spec }));
  return { otlpUrl: `http://127.0.0.1:${gateway}`, apiUrl: `http://127.0.0.1:${api}`, configFile };
}

/** A loopback port that nobody uses at this moment. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
