import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");

it("every allowed skip names a test file that is there and says why", () => {
  const skips = JSON.parse(readFileSync(join(root, "test/skips.json"), "utf8")) as { file: string; reason: string }[];
  expect(skips.filter((skip) => !existsSync(join(root, skip.file)) || skip.reason.length < 20)).toEqual([]);
});

it("every test file that may skip something is listed", () => {
  const skips = JSON.parse(readFileSync(join(root, "test/skips.json"), "utf8")) as { file: string }[];
  const listed = new Set(skips.map(({ file }) => file));
  const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".test.ts"));
  // With or without a call: what is chosen first may be called later.
  const skipping = files.filter((name) => /\b(?:it|test|describe)\.skip(?:If)?\b/.test(readFileSync(join(root, "test", name), "utf8")));
  expect(skipping.length).toBeGreaterThan(5);
  expect(skipping.map((name) => `test/${name}`).filter((name) => !listed.has(name))).toEqual([]);
});
