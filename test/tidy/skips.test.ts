import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");

it("every allowed skip names a test file that is there and says why", () => {
  const skips = JSON.parse(readFileSync(join(root, "test/skips.json"), "utf8")) as { file: string; reason: string }[];
  expect(skips.filter((skip) => !existsSync(join(root, skip.file)) || skip.reason.length < 20)).toEqual([]);
});
