/** The import table of ARCHITECTURE.md, checked against every import of the product. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { engines, folderOf, layers, type Rule } from "./layer-table.ts";

const root = join(import.meta.dirname, "../..");

function sources(directory: string): string[] {
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(directory, entry.name);
    if (entry.isDirectory()) return ["node_modules", "dist"].includes(entry.name) ? [] : sources(path);
    return /\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const pattern = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|import\(\s*"([^"]+)"\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? "";
    const to = specifier.startsWith(".") ? relative(root, join(root, dirname(file), specifier)) : specifier;
    return { from: file, to, typeOnly: match[1] !== undefined };
  });
}

const product = [...new Set(Object.keys(layers).map((folder) => folder.split("/")[0] ?? ""))].flatMap((folder) => {
  try {
    return sources(folder);
  } catch {
    return [];
  }
});

function violation(edge: Import): string | null {
  const home = folderOf(edge.from);
  if (home === null) return `${edge.from} lies in no folder of the import table`;
  const rule: Rule = layers[home] ?? { may: [] };
  if (edge.to.startsWith("node:")) return null;
  if (!/\.(tsx?|css|json)$/.test(edge.to)) {
    const owner = engines.find((engine) => edge.to === engine.package || edge.to.startsWith(`${engine.package}/`));
    if (owner === undefined || owner.folders.some((folder) => edge.from.startsWith(folder))) return null;
    return `${edge.from} imports ${edge.to}, which only ${owner.folders.join(", ")} may`;
  }
  const target = folderOf(edge.to);
  if (target === null || target === home || rule.may.includes("*") || rule.may.includes(target)) return null;
  return `${edge.from} imports ${edge.to}: ${home} may import only ${rule.may.join(", ") || "itself"}`;
}

describe("layers", () => {
  it("reads a believable number of imports", () => {
    expect(product.length).toBeGreaterThan(20);
    expect(product.flatMap(importsOf).length).toBeGreaterThan(50);
  });

  it("are kept by every import of the product", () => {
    expect(
      product
        .flatMap(importsOf)
        .map(violation)
        .filter((text) => text !== null),
    ).toEqual([]);
  });

  it("notice a planted violation", () => {
    expect(violation({ from: "services/ingest/ingest.ts", to: "services/detection/detection.ts", typeOnly: false })).toContain(
      "may import only",
    );
    expect(violation({ from: "graph/rank-causes.ts", to: "bullmq", typeOnly: false })).toContain("which only");
  });

  it("leave the environment to config/", () => {
    const allowed = /^(config|scripts|lab|test|bench)\//;
    const readers = product.filter((file) => !allowed.test(file) && readFileSync(join(root, file), "utf8").includes("process.env"));
    expect(readers).toEqual([]);
  });
});

describe("ARCHITECTURE.md", () => {
  it("prints the import table that the test checks", () => {
    const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
    const section = text.slice(text.indexOf("<!-- layers -->"), text.indexOf("<!-- /layers -->"));
    const printed = [...section.matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)].map((match) => [match[1], match[2]]);
    const expected = Object.entries(layers).map(([folder, rule]) => [folder, rule.may.join(", ").replace("*", "everything") || "–"]);
    expect(printed).toEqual(expected);
  });
});
