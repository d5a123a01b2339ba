/** `headwater start`: the platform, embedded, until a signal. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Config, loadConfig, parseConfig } from "../../config/config.ts";
import { App } from "../app.ts";
import { createPlatform } from "../platform.ts";
import { print } from "./output.ts";

export interface StartOptions {
  /** A YAML file; without it every default applies. */
  readonly config?: string;
  readonly dataDirectory?: string;
}

/** The built page beside the compiled sources, or null when it was not built. */
export function builtPage(): string | null {
  const directory = join(import.meta.dirname, "../../web");
  return existsSync(join(directory, "index.html")) ? directory : null;
}

/** Gateway ids differ between starts, so that batch numbers of two lives of a process never meet. */
export function newGatewayId(): string {
  return `g${Date.now().toString(36)}${process.pid.toString(36)}`;
}

export async function runStart(options: StartOptions): Promise<void> {
  const loaded = options.config === undefined ? parseConfig({}) : loadConfig(options.config);
  const config: Config = options.dataDirectory === undefined ? loaded : { ...loaded, dataDirectory: options.dataDirectory };
  const platform = createPlatform({ level: config.logLevel });
  const app = await App.start({ config, platform, gatewayId: newGatewayId(), webDirectory: builtPage() });
  print(`page and API  ${app.api.url()}`);
  print(`OTLP/HTTP in  ${app.gateway.url()}  (OTEL_EXPORTER_OTLP_ENDPOINT=${app.gateway.url()})`);
  print(`data          ${config.dataDirectory}`);
  await untilSignal();
  print("stopping");
  await app.stop();
}

/** Resolves at SIGINT or SIGTERM; a second signal ends the process the hard way. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const once = (): void => {
      process.once("SIGINT", () => process.exit(130));
      process.once("SIGTERM", () => process.exit(143));
      resolve();
    };
    process.once("SIGINT", once);
    process.once("SIGTERM", once);
  });
}
