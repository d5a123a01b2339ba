/** Types, lint, dead code and the tidy rules (layers, docs, sizes): everything that needs no run of the product. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const bin = (name) => join("node_modules", ".bin", name);
const steps = [
  { name: "types", command: bin("tsc"), args: ["--noEmit"] },
  { name: "lint", command: bin("biome"), args: ["check", "--error-on-warnings", "."] },
  { name: "dead code", command: bin("knip"), args: [] },
  { name: "tidy", command: bin("vitest"), args: ["run", "test/tidy", "--reporter=dot"] },
];

const startedMs = Date.now();
const failed = [];
for (const step of steps) {
  const stepMs = Date.now();
  const result = spawnSync(step.command, step.args, { stdio: "inherit" });
  const seconds = ((Date.now() - stepMs) / 1000).toFixed(1);
  process.stderr.write(`check: ${step.name} ${result.status === 0 ? "passed" : "FAILED"} in ${seconds} s\n`);
  if (result.status !== 0) failed.push(step.name);
}
process.stderr.write(
  `check: ${failed.length === 0 ? "passed" : `failed: ${failed.join(", ")}`} in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`,
);
process.exit(failed.length === 0 ? 0 : 1);
