/** Design §12 as data: who may import whom besides itself, node: and its npm packages. ARCHITECTURE.md prints the same table. */
export interface Rule {
  /** Folders of the table; `*` = everything. */
  readonly may: readonly string[];
}

const stage = ["contract", "services/stage.ts", "services/platform.ts"];

export const layers: Record<string, Rule> = {
  contract: { may: [] },
  native: { may: ["contract"] },
  config: { may: ["contract"] },
  models: { may: ["contract", "native"] },
  graph: { may: ["contract"] },
  report: { may: ["contract"] },
  store: { may: ["contract"] },
  "services/redis": { may: ["contract"] },
  "services/queue": { may: ["contract", "services/redis"] },
  "services/log": { may: ["contract", "services/redis"] },
  "services/presence": { may: ["contract", "services/redis"] },
  "services/stage.ts": { may: ["contract"] },
  "services/platform.ts": { may: ["contract"] },
  "services/agent": { may: [...stage, "native"] },
  "services/gateway": { may: [...stage, "native", "config"] },
  "services/ingest": { may: [...stage, "native", "config"] },
  "services/detection": { may: [...stage, "models", "config"] },
  "services/topology": { may: [...stage, "graph", "config"] },
  "services/incident": { may: [...stage, "graph", "report", "config"] },
  "services/ranking": { may: [...stage, "graph", "config"] },
  "services/notify": { may: [...stage, "config"] },
  "services/api": { may: [...stage, "report", "config"] },
  client: { may: ["contract"] },
  "services/pipeline.ts": { may: ["*"] },
  "services/ports.ts": { may: ["*"] },
  "services/app.ts": { may: ["*"] },
  "services/role.ts": { may: ["contract", "config"] },
  "services/version.ts": { may: [] },
  "services/health.ts": { may: ["contract", "config", "services/platform.ts"] },
  "services/retention.ts": { may: ["contract", "services/platform.ts"] },
  "services/command": { may: ["*"] },
  "services/main.ts": { may: ["*"] },
  web: { may: ["contract", "client"] },
  lab: { may: ["contract", "client"] },
};

/** Packages with a server or an engine behind them, and the folders that may import them. */
export const engines: readonly { package: string; folders: readonly string[] }[] = [
  { package: "bullmq", folders: ["services/queue/"] },
  { package: "ioredis", folders: ["services/redis/", "services/queue/", "services/log/", "services/presence/"] },
  { package: "neo4j-driver", folders: ["graph/neo4j/"] },
  { package: "pg", folders: ["store/postgres/", "lab/"] },
  { package: "libsql", folders: ["store/sqlite/"] },
  { package: "@duckdb/node-api", folders: ["store/duckdb/"] },
  { package: "@grpc/grpc-js", folders: ["services/gateway/"] },
  { package: "express", folders: ["services/api/"] },
  { package: "@tensorflow/tfjs", folders: ["models/train/"] },
];

/** The row of the table that a file belongs to: the longest that is its path or a folder above it. */
export function folderOf(path: string): string | null {
  const rows = Object.keys(layers).filter((row) => path === row || path.startsWith(`${row}/`));
  return rows.sort((left, right) => right.length - left.length)[0] ?? null;
}
