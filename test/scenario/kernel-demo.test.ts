import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { serversMissing } from "./servers-missing.ts";

const main = join(import.meta.dirname, "../../dist/services/main.js");
const directory = mkdtempSync(join(tmpdir(), "headwater-kernel-demo-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const isFull = process.env.HEADWATER_TEST_FULL === "yes";
const why = isFull ? (noKernelPrograms ?? serversMissing) : "it takes some minutes, so only npm run test:full runs it";
if (why !== null) console.warn(`the demo by kernel telemetry is not tested: ${why}`);

const Summary = z.object({ hit: z.number(), ranking: z.array(z.object({ type: z.string(), id: z.string() })) });

/** Runs the demo to its end; answers what it says of the ranking, and how the verdict came by its evidence. */
async function demo(fault: string): Promise<{ summary: z.infer<typeof Summary>; came: string }> {
  const reports = join(directory, fault);
  const words = ["demo", "--once", "--distributed", "--telemetry", "kernel", "--fault", fault, "--reports", reports, "--json"];
  const child = spawn(process.execPath, [main, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  await new Promise((resolve) => child.once("exit", resolve));
  const last = output.trim().split("\n").at(-1) ?? "";
  expect(last, errors).toContain('"hit"');
  const text = readFileSync(join(reports, "report.md"), "utf8");
  return { summary: Summary.parse(JSON.parse(last)), came: text.slice(text.indexOf("## How it came")) };
}

describe.skipIf(why !== null)("the demo, distributed, of services that report nothing", () => {
  it("ranks the right cause first, by samples of the kernel and queries of Neo4j that it names", { timeout: 240_000 }, async () => {
    const { summary, came } = await demo("slow-code");
    expect(summary.hit).toBe(1);
    expect(came).toContain("- Graph: Neo4j\n");
    expect(came).toMatch(/- Queries of the graph: .*neighbours/);
    expect(came).toMatch(/- Kernel samples: operation:/);
  });

  it("names the event of the kernel that shows the cause, with the job of BullMQ that carried it", { timeout: 240_000 }, async () => {
    const { summary, came } = await demo("crash");
    expect(summary.hit).toBe(1);
    expect(came).toContain("- Queue: BullMQ on Redis\n");
    expect(came).toMatch(/- Kernel events: .*ended by signal 9.*\(batch [0-9a-z-]+-\d+\)/);
  });
});
