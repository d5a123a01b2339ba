import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { Config, loadConfig } from "../../config/config.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import { fencedBlocks, tableUnder } from "./markdown.ts";

const folder = useTemporaryFolder();
const text = readFileSync(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");

interface Node {
  readonly type?: string | readonly string[];
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
}

interface Row {
  readonly key: string;
  readonly allowed: string;
  readonly default: string;
}

function allowed(node: Node): string {
  if (node.anyOf !== undefined)
    return `${node.anyOf
      .filter((one) => one.type !== "null")
      .map(allowed)
      .join(" or ")}, or null`;
  if (Array.isArray(node.type)) return "URL or null";
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(", ");
  if (node.type === "array") return node.items?.enum === undefined ? `at most ${node.maxItems}` : allowed(node.items);
  if (node.pattern !== undefined) return `\`${node.pattern}\``;
  if (node.minimum !== undefined) return `${node.minimum} to ${node.maximum}`;
  if (node.maxLength !== undefined) return `${node.minLength} to ${node.maxLength} characters`;
  return node.minLength === undefined ? "text" : `at least ${node.minLength} character`;
}

function rows(node: Node, key: string): Row[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([name, below]) => rows(below, key === "" ? name : `${key}.${name}`));
  }
  const row = { key, allowed: allowed(node), default: "default" in node ? `\`${JSON.stringify(node.default)}\`` : "required" };
  return [row, ...(node.items?.properties === undefined ? [] : rows(node.items, `${key}[]`))];
}

it("docs/configuration.md lists every key with what is allowed and its default, in the order of the code, and no other", () => {
  const documented = tableUnder(text, "## Keys of `spec`").map(([key, allowedText, defaultText]) => ({
    key: key?.replaceAll("`", ""),
    allowed: allowedText,
    default: defaultText,
  }));
  expect(documented).toEqual(rows(z.toJSONSchema(Config, { io: "input" }) as Node, ""));
});

it("every key has a meaning", () => {
  expect(tableUnder(text, "## Keys of `spec`").filter((cells) => (cells[3] ?? "").length < 15)).toEqual([]);
});

it("the example of docs/configuration.md is accepted", () => {
  mkdirSync(folder.path, { recursive: true });
  const file = join(folder.path, "headwater.yaml");
  writeFileSync(file, fencedBlocks(text, "yaml")[0] ?? "");
  const config = loadConfig(file, { HEADWATER_REDIS_PASSWORD: "secret" });
  expect(config.urls.queue).toBe("redis://:secret@redis.example:6379");
  expect(config.window.settleMs).toBe(2_000);
});
