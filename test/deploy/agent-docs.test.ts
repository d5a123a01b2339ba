import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../config/config.ts";
import {
  agentMetric,
  connectionMetric,
  hostMetric,
  kernelEvent,
  processMetric,
  requestDurationMetrics,
} from "../../contract/kernel-telemetry.ts";
import { doctorObjects } from "../../services/agent/doctor.ts";
import { levels } from "../../services/agent/governor.ts";
import { readText, root } from "./deployment.ts";
import { tableUnder } from "./markdown.ts";

const text = readText("docs/agent.md");
const namesIn = (cell: string | undefined): string[] => [...(cell ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");

it("the table of programs has a row for every object that the agent loads, and no other", () => {
  const documented = tableUnder(text, "## What each program sees").flatMap(([object]) => namesIn(object));
  expect(documented.sort()).toEqual([...doctorObjects].sort());
});

it("the table of levels is the governor's, and marks the default of the configuration", () => {
  const rows = tableUnder(text, "## Levels and the governor").map(([level]) => level ?? "");
  expect(rows.flatMap(namesIn)).toEqual(levels.slice(1));
  expect(rows.filter((row) => row.includes("(default)")).flatMap(namesIn)).toEqual([parseConfig({}).agent.level]);
});

it("the table of what is sent has the names of the contract, also of what the agent says of itself", () => {
  const rows = Object.fromEntries(
    tableUnder(text, "## What is sent").map(([about, names]) => [about?.split(/[ ,]/)[0] ?? "", namesIn(names)]),
  );
  const { server, client } = requestDurationMetrics;
  expect(rows.requests?.sort()).toEqual([...server, ...client].sort());
  expect(rows.dependencies).toEqual(Object.values(connectionMetric));
  expect(rows.services).toEqual(Object.values(processMetric));
  expect(rows.events).toEqual(Object.values(kernelEvent));
  const host = tableUnder(text, "## What is sent").find(([about]) => about === "the host");
  expect(namesIn(host?.[1])).toEqual(Object.values(hostMetric));
  const itself = tableUnder(text, "## What is sent").find(([about]) => about === "the agent");
  expect(namesIn(itself?.[1])).toEqual(Object.values(agentMetric));
});

it("every capability that is named is given somewhere in deploy/, and every file, command and block of commands is there", () => {
  const given = readText("deploy/systemd/headwater-agent.service");
  const capabilities = [...new Set([...text.matchAll(/CAP_[A-Z_]+/g)].map((match) => match[0]))];
  expect(capabilities.filter((name) => !given.includes(name))).toEqual([]);
  const files = [...new Set([...text.matchAll(/\bdeploy\/[\w./@-]*\w/g)].map((match) => match[0]))];
  expect(files.length).toBeGreaterThan(4);
  expect(files.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  const links = [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? "");
  expect(links.filter((path) => !existsSync(join(root, "docs", path)))).toEqual([]);
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? "");
  expect(blocks.length).toBeGreaterThan(4);
  for (const block of blocks) expect(spawnSync("sh", ["-n"], { input: block, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  const program = readText("services/main.ts");
  const commands = [
    ...new Set([...text.matchAll(/headwater (?:-- )?(doctor|agent|syscalls|requests|network)\b/g)].map((match) => match[1])),
  ];
  expect(commands.length).toBe(5);
  expect(commands.filter((name) => !program.includes(`"${name}"`))).toEqual([]);
});

it("every key of the configuration that is named is one", () => {
  const keys = [...new Set([...text.matchAll(/`agent\.(\w+)/g)].map((match) => match[1] ?? ""))];
  expect(keys.length).toBeGreaterThan(5);
  expect(keys.filter((key) => !(key in parseConfig({}).agent))).toEqual([]);
});
