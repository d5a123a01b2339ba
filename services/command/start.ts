/** `headwater start`: the platform until a signal; embedded, or some roles of it over servers. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Config, loadConfig, parseConfig } from "../../config/config.ts";
import { type HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { App, type AppOptions } from "../app.ts";
import { openHealth } from "../health.ts";
import { createPlatform, type Platform } from "../platform.ts";
import type { Role } from "../role.ts";
import { AgentChild, agentProgram, runsAgent } from "./agent-child.ts";
import { print } from "./output.ts";
import { newGatewayId, untilSignal } from "./process-life.ts";

export interface StartOptions {
  /** A YAML file; without it every default applies. */
  readonly config?: string;
  readonly dataDirectory?: string;
  /** Without it the process runs everything, and has no health port of its own. */
  readonly roles?: readonly Role[];
  readonly healthPort?: number;
}

/** Between two tries to open the ports while a server is away. */
const openAgainMs = 1_000;

/** The built page beside the compiled sources, or null when it was not built. */
export function builtPage(): string | null {
  const directory = join(import.meta.dirname, "../../web");
  return existsSync(join(directory, "index.html")) ? directory : null;
}

export async function runStart(options: StartOptions): Promise<void> {
  const config = configOf(options);
  const platform = createPlatform({ level: config.logLevel });
  const signal = untilSignal();
  const waiting = new WaitingReasons();
  const health =
    options.roles === undefined
      ? null
      : await openHealth({ http: config.health, tokens: config.tokens, platform, reasons: () => waiting.reasons() });
  const roles = options.roles === undefined ? {} : { roles: options.roles };
  let agent: AgentChild | null = null;
  const otherReasons = () => agent?.reasons() ?? [];
  try {
    const started = await startWhenPossible(
      { config, platform, gatewayId: newGatewayId(), webDirectory: builtPage(), otherReasons, ...roles },
      { signal, waiting },
    );
    if (started !== null) {
      waiting.from(started);
      agent = startAgent(started, { config, platform, options });
      tell(started, { config, healthUrl: health?.url() ?? null, roles: options.roles ?? null });
      await signal;
    }
    print("stopping");
    await agent?.stop();
    await started?.stop();
  } finally {
    // It would keep a process alive whose start has failed for good.
    await health?.close();
  }
}

/** Null where the configuration, or another process of this installation, has it otherwise. */
function startAgent(app: App, from: { config: Config; platform: Platform; options: StartOptions }): AgentChild | null {
  const { config, platform, options } = from;
  const { gateway } = app.addresses;
  const { enabled } = config.agent;
  if (gateway === null || enabled === "no" || !runsAgent(config, options.roles ?? null)) return null;
  const program = { gateway: config.agent.gateway ?? gateway, config: options.config };
  const { clock, logger } = platform;
  const agent = new AgentChild({ spawn: () => agentProgram(program), clock, logger, enabled });
  agent.start();
  return agent;
}

function configOf(options: StartOptions): Config {
  const loaded = options.config === undefined ? parseConfig({}) : loadConfig(options.config);
  return {
    ...loaded,
    ...(options.dataDirectory === undefined ? {} : { dataDirectory: options.dataDirectory }),
    ...(options.healthPort === undefined ? {} : { health: { ...loaded.health, port: options.healthPort } }),
  };
}

/** What `/readyz` says: why the start waits, then what the stages say. */
class WaitingReasons {
  #reasons: () => readonly string[] = () => ["the process is starting"];

  waitsFor(error: HeadwaterError): void {
    this.#reasons = () => [`the start waits: ${error.message}`];
  }

  from(app: App): void {
    this.#reasons = () => app.reasons();
  }

  reasons(): readonly string[] {
    return this.#reasons();
  }
}

/** Opens again while a server cannot be reached, and says so once; null when a signal came first. */
async function startWhenPossible(options: AppOptions, until: { signal: Promise<void>; waiting: WaitingReasons }): Promise<App | null> {
  const { logger } = options.platform;
  let stopped = false;
  void until.signal.then(() => {
    stopped = true;
  });
  let told: string | null = null;
  for (;;) {
    try {
      const app = await App.start(options);
      if (told !== null) logger.info({}, "the start goes on: everything can be reached");
      return app;
    } catch (error) {
      const known = toHeadwaterError(error);
      // Embedded, nothing comes back by itself.
      if (!known.retriable || isEmbedded(options.config)) throw error;
      until.waiting.waitsFor(known);
      if (told !== known.code) logger.warn({ code: known.code, reason: known.message }, "the start waits, trying again every second");
      told = known.code;
    }
    await Promise.race([pause(openAgainMs), until.signal]);
    if (stopped) return null;
  }
}

function isEmbedded({ urls }: Config): boolean {
  return Object.values(urls).every((url) => url === null);
}

function tell(app: App, about: { config: Config; healthUrl: string | null; roles: readonly Role[] | null }): void {
  const { api, gateway, store } = app.addresses;
  if (about.roles !== null) print(`roles         ${about.roles.join(", ")}`);
  if (about.healthUrl !== null) print(`health        ${about.healthUrl}/readyz`);
  if (store !== null) print(`store         ${store}`);
  if (api !== null) print(`page and API  ${api}`);
  print(`data          ${about.config.dataDirectory}`);
  if (gateway !== null) print(`OTLP/HTTP in  ${gateway}  (OTEL_EXPORTER_OTLP_ENDPOINT=${gateway})`);
  print("ready");
}
