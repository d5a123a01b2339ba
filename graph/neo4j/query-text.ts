/** The Cypher that we use, one file a query; scripts/setup.mjs copies the files beside the compiled code. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { invariant } from "../../contract/invariant.ts";

const queryNames = [
  "calls-among",
  "dependencies-among",
  "dependencies-at",
  "dependencies-begun",
  "dependencies-ended",
  "dependencies-unended",
  "entities-at",
  "entities-between",
  "entities-of",
  "entities-seen",
  "forget-dependencies",
  "forget-entities",
  "forget-precedents",
  "graph-version",
  "hops-from",
  "hops-to",
  "kept-dependencies",
  "kept-entities",
  "known-precedents",
  "lock-graph",
  "neighbours",
  "remove-dependencies",
  "set-graph",
  "set-version",
  "similar-precedents",
  "update-dependencies",
  "watermarks",
  "write-dependencies",
  "write-entities",
  "write-precedents",
  "write-tokens",
] as const;
export type QueryName = (typeof queryNames)[number];

const texts = new Map<string, string>(
  queryNames.map((name) => [name, readFileSync(join(import.meta.dirname, "query", `${name}.cypher`), "utf8")]),
);

/** The text of a query, with its header. */
export function queryText(name: QueryName): string {
  const text = texts.get(name);
  invariant(text !== undefined, `no query ${name}`);
  return text;
}

export interface Migration {
  /** From 1, without gaps. */
  readonly version: number;
  readonly statements: readonly string[];
}

/** In order. Each can be run twice. */
export const migrations: readonly Migration[] = readdirSync(join(import.meta.dirname, "migration"))
  .filter((name) => name.endsWith(".cypher"))
  .sort()
  .map((name, index) => {
    const version = Number(name.slice(0, 4));
    invariant(version === index + 1, `the migration ${name} is not number ${index + 1}`);
    const text = readFileSync(join(import.meta.dirname, "migration", name), "utf8");
    return { version, statements: statementsOf(text) };
  });

function statementsOf(text: string): string[] {
  const statements = text.split(/;\s*$/m).map((statement) => statement.trim());
  return statements.filter((statement) => statement.replace(/^\/\/.*$/gm, "").trim() !== "");
}
