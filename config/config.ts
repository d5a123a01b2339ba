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
  urls: z
    .strictObject({
      /** redis://…; null = in memory with a journal. */
      queue: z.string().nullable().default(null),
      /** bolt://…; null = in memory, kept in the data directory. */
      graph: z.string().nullable().default(null),
      /** postgres://…; null = SQLite in the data directory. */
      events: z.string().nullable().default(null),
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

/** Reads a YAML file. Throws CONFIG_INVALID when it cannot be read or is not valid. */
export function loadConfig(file: string): Config {
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
  return parseConfig(outer.data.spec, file);
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
