import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../conformance/temporary.ts";
import { compileObject, noKernelPrograms } from "./bpf-object.ts";
import type { EndedBy } from "./end-while-reading.ts";

const suite = noKernelPrograms === null ? describe : describe.skip;
if (noKernelPrograms !== null) console.warn(`the end of a thread that reads the kernel is not tested: ${noKernelPrograms}`);

suite(`a thread that is ended while it reads the kernel${noKernelPrograms === null ? "" : `: ${noKernelPrograms}`}`, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let object: string;
  beforeAll(async () => {
    folder = await temporaryFolder();
    object = compileObject("bpf/generator.bpf.c", folder.path).path;
  });
  afterAll(() => folder.remove());

  /** In a process of its own: what goes wrong would end this one. */
  async function end(rounds: number, by: EndedBy): Promise<{ code: number | null; signal: string | null; said: string }> {
    const file = join(import.meta.dirname, "end-while-reading.ts");
    const child = spawn(process.execPath, ["--import", "tsx", file, object, String(rounds), by], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    const [code, signal] = await once(child, "close");
    return { code, signal, said };
  }

  it("takes nothing else with it, two hundred times", async () => {
    expect(await end(200, "terminate")).toEqual({ code: 0, signal: null, said: "200\n" });
  }, 60_000);

  it("lets its process end as it was told to", async () => {
    for (let round = 0; round < 8; round += 1) expect(await end(4, "exit")).toEqual({ code: 0, signal: null, said: "" });
  }, 60_000);
});
