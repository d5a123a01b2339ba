/** Reads the files of `deploy/`, as the tests beside this file compare them with the code. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { type Config, loadConfig } from "../../config/config.ts";

export const root = join(import.meta.dirname, "../..");

export function readText(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Files below `deploy/` with the root's own, by path from the root. */
export function deploymentFiles(): string[] {
  const below = readdirSync(join(root, "deploy"), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  return [...below, "Dockerfile", "docker-compose.yml", ".dockerignore"].sort();
}

export interface ComposeService {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly restart?: string;
  readonly stop_grace_period?: string;
  readonly init?: boolean;
  readonly cpus?: number;
  readonly mem_limit?: string;
  readonly pids_limit?: number;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

export interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly volumes: Readonly<Record<string, object>>;
}

export function readCompose(): Compose {
  return parse(readText("docker-compose.yml"), { merge: true });
}

// biome-ignore lint/suspicious/noExplicitAny: manifests have many shapes; a test reads what it needs and fails where that is missing.
export type Manifest = any;

/** Every object of the manifests, of the folder itself or with what is for trying out. */
export function readManifests(folders: readonly string[] = ["deploy/kubernetes", "deploy/kubernetes/example"]): Manifest[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".yaml"))
      .sort()
      .flatMap((name) => parseAllDocuments(readText(join(folder, name))).map((document) => document.toJS() as Manifest)),
  );
}

/** The last value of a directive in a unit of systemd. */
export function directive(unit: string, name: string): string | undefined {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].at(-1)?.[1];
}

/** Names that a text takes from the environment as `${NAME}`, outside of comments. */
export function variablesOf(text: string): string[] {
  const used = text.replaceAll(/^\s*#.*$/gm, "");
  return [...new Set([...used.matchAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)[:}]/g)].map((match) => match[1] ?? ""))].sort();
}

/** Names that a file of the form `NAME=` lists. */
export function namesOf(text: string): string[] {
  return [...text.matchAll(/^([A-Z_0-9]+)=/gm)].map((match) => match[1] ?? "").sort();
}

/** Loads an embedded configuration as the product does, every variable being set to something that is long enough for a token. */
export function loadEmbedded(text: string, values: Readonly<Record<string, string>> = {}): Config {
  const folder = mkdtempSync(join(tmpdir(), "headwater-deploy-"));
  try {
    const file = join(folder, "headwater.yaml");
    writeFileSync(file, text);
    const environment = Object.fromEntries(variablesOf(text).map((name) => [name, values[name] ?? `value-of-${name.toLowerCase()}`]));
    return loadConfig(file, environment);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
