/**
 * Runs `npm run check` and every test, and ends with the plain line `N passed, N failed, N skipped`.
 * A skipped test must be listed with its reason in `test/skips.json`; one that is not counts as failed.
 *
 *   node scripts/test.mjs [--full]
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

const full = process.argv.includes("--full");
const directory = mkdtempSync(join(tmpdir(), "headwater-test-"));
const output = join(directory, "result.json");

const check = spawnSync(process.execPath, ["scripts/check.mjs"], { stdio: "inherit" });
const tests = spawnSync(
  process.execPath,
  [
    join("node_modules", "vitest", "vitest.mjs"),
    "run",
    "--exclude",
    "test/tidy/**",
    "--reporter=dot",
    "--reporter=json",
    `--outputFile.json=${output}`,
  ],
  { stdio: "inherit", env: { ...process.env, HEADWATER_TEST_FULL: full ? "yes" : "no" } },
);

const counts = { passed: 0, failed: check.status === 0 ? 0 : 1, skipped: 0 };
let report = null;
try {
  report = JSON.parse(readFileSync(output, "utf8"));
} catch (error) {
  process.stdout.write(`the test runner wrote no result: ${error.message}\n`);
  counts.failed += 1;
}
rmSync(directory, { recursive: true, force: true });

const reasons = JSON.parse(readFileSync("test/skips.json", "utf8"));
for (const file of report?.testResults ?? []) {
  const name = relative(process.cwd(), file.name);
  if (file.status === "failed" && file.assertionResults.length === 0) {
    process.stdout.write(`failed to load: ${name}: ${file.message}\n`);
    counts.failed += 1;
  }
  for (const test of file.assertionResults) {
    if (test.status === "passed") counts.passed += 1;
    else if (test.status === "failed") {
      counts.failed += 1;
      process.stdout.write(`failed: ${name}: ${test.fullName}\n`);
    } else {
      const known = reasons.find((skip) => skip.file === name);
      if (known === undefined) counts.failed += 1;
      else counts.skipped += 1;
      process.stdout.write(
        `skipped: ${name}: ${test.fullName}: ${known?.reason ?? "not listed in test/skips.json, so it counts as failed"}\n`,
      );
    }
  }
}
if (tests.status !== 0 && counts.failed === 0) counts.failed = 1;
process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exit(counts.failed === 0 ? 0 : 1);
