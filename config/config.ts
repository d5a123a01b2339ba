/** What an operator may change: one YAML file, validated, with defaults; nothing else in the product reads the environment. */
import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { HeadwaterError } from "../contract/error.ts";

const Port = z.number().int().min(0).max(65_535);
const Token = z.strictObject({
  token: z.string().min(16).max(512),
  roles: z.array(z.enum(["viewer", "responder", "admin", "ingest", "agent"])).min(1),
});

function Url(protocols: readonly string[]) {
  const allowed = protocols.map((protocol) => `${protocol}//`).join(", ");
  return z
    .string()
    .refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), `a URL that begins with ${allowed}`)
    .nullable()
    .default(null);
}

export const Config = z.strictObject({
  /** Where everything is kept. Relative paths are relative to the working directory. */
  dataDirectory: z.string().min(1).default("data"),
  tenant: z.string().min(1).max(64).default("default"),
  logLevel: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  gateway: z
    .strictObject({
      host: z.string().default("127.0.0.1"),
      /** OTLP over HTTP and CloudEvents; 0 = any free port. */
      port: Port.default(4318),
      /** Largest decompressed body. */
      bodyBytesMax: z.number().int().min(1_024).max(268_435_456).default(16_777_216),
      /** How long a body may take to arrive. */
      bodyTimeoutMs: z.number().int().min(100).max(600_000).default(30_000),
    })
    .prefault({}),
  api: z.strictObject({ host: z.string().default("127.0.0.1"), port: Port.default(8080) }).prefault({}),
  /** Bearer tokens. None = every role, which is only accepted while bound to loopback. */
  tokens: z.array(Token).max(1_000).default([]),
  window: z
    .strictObject({
      /** Length of a window of event time. */
      windowMs: z.number().int().min(100).max(3_600_000).default(10_000),
      /** How far all live sources must have passed a window's end before it closes. */
      settleMs: z.number().int().min(0).max(60_000).default(1_000),
      /** A source that is silent for longer, in event time, no longer holds windows open. */
      sourceSilentMs: z.number().int().min(100).max(3_600_000).default(15_000),
      /** Samples later than this after their window are counted as late and dropped. */
      amendMs: z.number().int().min(0).max(600_000).default(30_000),
    })
    .prefault({}),
  objective: z
    .strictObject({
      availabilityTarget: z.number().min(0.5).max(0.99999).default(0.995),
      latencyTarget: z.number().min(0.5).max(0.99999).default(0.99),
      /** A request is slow when it takes longer than this times the learned p95. */
      latencyFactor: z.number().min(1).max(100).default(2),
    })
    .prefault({}),
  /** Divides every duration of design §8; 60 in the lab. */
  timeScale: z.number().min(1).max(3_600).default(1),
  /** Where servers are; null = embedded, in the data directory. This choice is made here and nowhere else. */
  urls: z
    .strictObject({
      /** redis:// or rediss://: queue, ordered log and presence. */
      queue: Url(["redis:", "rediss:"]),
      /** bolt://, neo4j://, or one of them with +s or +ssc for TLS. */
      graph: Url(["bolt:", "bolt+s:", "bolt+ssc:", "neo4j:", "neo4j+s:", "neo4j+ssc:"]),
      /** postgres:// or postgresql://. */
      events: Url(["postgres:", "postgresql:"]),
      /** http:// or https://: the role `store`. */
      telemetry: Url(["http:", "https:"]),
    })
    .prefault({}),
  redis: z
    .strictObject({
      /** Every key begins with `{prefix}:`. Installations that share a Redis need one each. */
      prefix: z
        .string()
        .regex(/^[A-Za-z0-9_-]{1,40}$/, "letters, digits, - and _, at most 40")
        .default("headwater"),
    })
    .prefault({}),
  /** The role `store`: the one process that opens the telemetry files. */
  store: z
    .strictObject({
      host: z.string().default("127.0.0.1"),
      port: Port.default(4319),
      /** What other roles show as a bearer token; null is accepted while bound to loopback only. */
      token: z.string().min(16).max(512).nullable().default(null),
    })
    .prefault({}),
  /** `/livez`, `/readyz`, `/metrics` of a process that runs some roles only. */
  health: z.strictObject({ host: z.string().default("127.0.0.1"), port: Port.default(9464) }).prefault({}),
  /** What the kernel of this host tells; a process of its own, with rights that the platform does not have. */
  agent: z
    .strictObject({
      /** Whether `start` runs it: `auto` where the process may load programs into the kernel and runs all roles. */
      enabled: z.enum(["auto", "yes", "no"]).default("auto"),
      /** Where it sends; null = the gateway of this configuration. */
      gateway: Url(["http:", "https:"]),
      token: z.string().min(16).max(512).nullable().default(null),
      /** Paths of the unified hierarchy: only what runs below is observed, and what lies below one directly is a service. */
      cgroups: z.array(z.string().min(1).max(1_024)).max(100).default([]),
      intervalMs: z.number().int().min(100).max(60_000).default(5_000),
      level: z.enum(["connections", "requests", "streams", "payload"]).default("streams"),
      /** Share of one core for the agent and its programs together. */
      cpuBudget: z.number().min(0.001).max(64).default(0.05),
      memoryMaxMb: z.number().int().min(64).max(65_536).default(150),
      syscalls: z.enum(["sampled", "always", "off"]).default("sampled"),
      /** Batches go straight to this queue instead of a gateway. */
      queue: z.strictObject({ url: Url(["redis:", "rediss:"]) }).prefault({}),
    })
    .prefault({}),
});
export type Config = z.infer<typeof Config>;

const ConfigFile = z.strictObject({
  apiVersion: z.literal("headwater/v1"),
  kind: z.literal("Configuration"),
  metadata: z.strictObject({ name: z.string().max(200).default("headwater") }).prefault({}),
  spec: z.record(z.string(), z.unknown()).default({}),
});

/** A configuration from an object (the file's `spec`). Throws CONFIG_INVALID naming key, allowed values and nearest match. */
export function parseConfig(spec: unknown, where = "configuration"): Config {
  const result = Config.safeParse(spec);
  if (result.success) return result.data;
  const lines = result.error.issues.slice(0, 10).map((issue) => describe(issue, spec));
  throw new HeadwaterError("CONFIG_INVALID", `${where}: ${lines.join("; ")}`);
}

/**
 * Reads a YAML file. `${NAME}` in a text is replaced by the environment's variable of that name, so that secrets need not be in the file.
 * Throws CONFIG_INVALID when it cannot be read, names a variable that is not set, or is not valid.
 */
export function loadConfig(file: string, environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  let document: unknown;
  try {
    document = parseYaml(readFileSync(file, "utf8"));
  } catch (error) {
    throw new HeadwaterError("CONFIG_INVALID", `${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const outer = ConfigFile.safeParse(document);
  if (!outer.success) {
    throw new HeadwaterError("CONFIG_INVALID", `${file}: ${outer.error.issues.map((issue) => describe(issue, document)).join("; ")}`);
  }
  return parseConfig(withVariables(outer.data.spec, { file, environment, path: "" }), file);
}

interface VariableScope {
  readonly file: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly path: string;
}

function withVariables(value: unknown, scope: VariableScope): unknown {
  if (typeof value === "string") return value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => variable(name, scope));
  const below = (key: string | number): VariableScope => ({ ...scope, path: scope.path === "" ? String(key) : `${scope.path}.${key}` });
  if (Array.isArray(value)) return value.map((item, index) => withVariables(item, below(index)));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withVariables(item, below(key))]));
}

function variable(name: string, { file, environment, path }: VariableScope): string {
  const value = environment[name];
  if (value !== undefined) return value;
  throw new HeadwaterError("CONFIG_INVALID", `${file}: "${path}" names the environment variable ${name}, which is not set`);
}

function describe(issue: z.core.$ZodIssue, input: unknown): string {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const allowed = allowedKeys(path);
    return issue.keys
      .map((key) => {
        const nearest = nearestKey(key, allowed);
        const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
        return `unknown key "${[...path, key].join(".")}"${hint} (allowed here: ${allowed.join(", ")})`;
      })
      .join("; ");
  }
  const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], input);
  return `"${path.join(".") || "(top)"}" is ${JSON.stringify(value) ?? "missing"}: ${issue.message}`;
}

function allowedKeys(path: readonly string[]): string[] {
  let schema: unknown = path.length === 0 ? Config : Config;
  for (const key of path) {
    schema = unwrap((unwrap(schema) as { shape?: Record<string, unknown> }).shape?.[key]);
  }
  return Object.keys((unwrap(schema) as { shape?: Record<string, unknown> } | undefined)?.shape ?? {});
}

function unwrap(schema: unknown): unknown {
  let inner = schema as { def?: { innerType?: unknown; element?: unknown } } | undefined;
  while (inner?.def?.innerType !== undefined) inner = inner.def.innerType as typeof inner;
  return inner;
}

function nearestKey(key: string, allowed: readonly string[]): string | null {
  const ranked = allowed
    .map((candidate) => ({ candidate, distance: editDistance(key, candidate) }))
    .sort((left, right) => left.distance - right.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(2, Math.floor(key.length / 3)) ? best.candidate : null;
}

function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const substitution = (previous[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      current.push(Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, substitution));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
