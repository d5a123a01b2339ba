import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../config/config.ts";
import { errorTable } from "../../contract/error.ts";
import { logTopics, queueTopics } from "../../contract/topic.ts";
import { allRoles, isRemote, portsOf, type Role, roleNeeds } from "../../services/role.ts";
import { readText, root } from "./deployment.ts";
import { fencedBlocks, tableUnder } from "./markdown.ts";

const text = readText("docs/operating.md");
const unquoted = (cell: string | undefined): string => (cell ?? "").replaceAll("`", "");

/** The URLs without which a role alone would use an embedded port. */
function urlsOf(role: Role): string[] {
  const ports = [...portsOf([role])].filter((port) => !(port === "telemetry" && role === "store"));
  const url = { queue: "redis://h", graph: "bolt://h", events: "postgres://h", telemetry: "http://h" };
  return Object.keys(url).filter((name) => {
    const config = parseConfig({ urls: { ...url, [name]: null } });
    return ports.some((port) => !isRemote(config, port));
  });
}

it("the table of roles lists every role with the ports and URLs that the code says it needs", () => {
  const documented = tableUnder(text, "## Roles").map(([role, ports, urls]) => ({ role: unquoted(role), ports, urls: unquoted(urls) }));
  const expected = allRoles.map((role) => ({
    role,
    ports: roleNeeds[role].join(", "),
    urls: ["queue", "telemetry", "events", "graph"].filter((name) => urlsOf(role).includes(name)),
  }));
  expect(
    documented.map(({ urls, ...row }) => ({
      ...row,
      urls: urls
        .split(", ")
        .filter((name) => name !== "none")
        .sort(),
    })),
  ).toEqual(expected.map((row) => ({ ...row, urls: row.urls.sort() })));
});

it("the table of ports has the keys and defaults of the configuration", () => {
  const config = parseConfig({}) as unknown as Record<string, { port?: number } | null>;
  const documented = Object.fromEntries(tableUnder(text, "## Ports").map(([, key, port]) => [unquoted(key), Number(port)]));
  const listening = Object.entries(config).filter(([, section]) => typeof section?.port === "number");
  expect(documented).toEqual(Object.fromEntries(listening.map(([name, section]) => [`${name}.port`, section?.port])));
});

it("the table of topics has the readers and bounds of the code", () => {
  const heading = "While something waits, what it would read is kept in Redis up to a bound:";
  const documented = tableUnder(text, heading).map(([topic, reader, most]) => [unquoted(topic), reader, Number.parseInt(most ?? "", 10)]);
  expect(documented).toEqual([
    ...Object.entries(queueTopics).map(([topic, { readers, depthMax }]) => [topic, readers.join(", "), depthMax]),
    ...Object.entries(logTopics).map(([topic, { reader, lagMax }]) => [topic, reader, lagMax]),
  ]);
});

it("the table of servers names the oldest versions that the adapters accept", () => {
  const documented = tableUnder(text, "## Servers").map(([server, version]) => `${server} ${/^\d+(?:\.\d+)?/.exec(version ?? "")?.[0]}`);
  const oldest = (path: string): number[] =>
    (/versionMin = \[?([\d_, ]+)\]?/.exec(readText(path))?.[1] ?? "").replaceAll("_", "").split(",").map(Number);
  const postgres = (oldest("store/postgres/postgres-event-store.ts")[0] ?? 0) / 10_000;
  const redis = oldest("services/redis/redis-connection.ts").join(".");
  const neo4j = oldest("graph/neo4j/migrate.ts").join(".");
  expect(documented).toEqual([`Redis ${redis}`, `Neo4j ${neo4j}`, `PostgreSQL ${postgres}`]);
});

it("every block of commands is shell that can be read, and every YAML block is YAML", () => {
  const blocks = [...text.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)].map((match) => match[2] ?? "");
  expect(blocks.length).toBeGreaterThan(10);
  for (const block of blocks) expect(spawnSync("sh", ["-n"], { input: block, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  for (const block of fencedBlocks(text, "yaml")) expect(() => parse(block)).not.toThrow();
});

it("every file that the commands name is there", () => {
  const named = [...new Set([...text.matchAll(/\bdeploy\/[\w./@-]*\w/g)].map((match) => match[0]))];
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  expect(
    [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? "").filter((path) => !existsSync(join(root, "docs", path))),
  ).toEqual([]);
});

it("every error code that is named is one of ours, and every command and option is there", () => {
  const codes = [...text.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map((match) => match[1] ?? "").filter((code) => !code.startsWith("HEADWATER_"));
  expect(codes.length).toBeGreaterThan(3);
  expect(codes.filter((code) => !(code in errorTable))).toEqual([]);
  const program = readText("services/main.ts");
  const options = [
    ...new Set([...text.matchAll(/(?:start|headwater -- [a-z-]+|incidents)[^\n`]* (--[a-z-]+)/g)].map((match) => match[1] ?? "")),
  ];
  expect(options.filter((option) => !program.includes(`"${option} `) && !program.includes(`"${option}"`))).toEqual([]);
  const commands = [...new Set([...text.matchAll(/headwater -- ([a-z-]+)(?: ([a-z]+))?/g)].flatMap((match) => match.slice(1)))];
  expect(commands.filter((name) => name !== undefined && !program.toLowerCase().includes(`command("${name}"`))).toEqual([]);
  const scripts = (JSON.parse(readText("package.json")) as { scripts: Record<string, string> }).scripts;
  const runs = [...new Set([...text.matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1] ?? ""))];
  expect(runs.filter((name) => !(name in scripts))).toEqual([]);
});
