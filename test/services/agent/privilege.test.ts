import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { capabilityNames } from "../../../services/agent/host-facts.ts";
import { unseenWithout } from "../../../services/agent/privilege.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { compileObject, noKernelPrograms } from "../../native/bpf-object.ts";
import type { ThreadRights } from "./rights.ts";

const folder = useTemporaryFolder();

it("says what is not seen without a right, and nothing to one that has them all", () => {
  expect(unseenWithout(capabilityNames)).toEqual([]);
  expect(unseenWithout(["CAP_BPF", "CAP_PERFMON"])).toEqual([
    "environment and open files of other users' processes cannot be read (CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH missing): their services are named by control groups and commands",
    "what the programs cost in the kernel is not counted (CAP_SYS_ADMIN missing): the budget is kept by the agent's own processor time",
  ]);
  expect(unseenWithout(["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"])).toEqual([expect.stringContaining("(CAP_SYS_PTRACE missing)")]);
});

const suite = noKernelPrograms === null ? describe : describe.skip;
if (noKernelPrograms !== null) console.warn(`giving up rights is not tested: ${noKernelPrograms}`);

suite(`giving up rights${noKernelPrograms === null ? "" : `: ${noKernelPrograms}`}`, () => {
  it("leaves the reading thread what attaching again needs, all others what reading /proc needs, and nobody a way back", () => {
    const object = compileObject("test/native/bpf/counting.bpf.c", folder.path);
    const result = spawnSync(process.execPath, ["--import", "tsx", join(import.meta.dirname, "rights.ts"), object.path], {
      encoding: "utf8",
    });
    expect(result.stderr).toBe("");
    const answer = JSON.parse(result.stdout);
    const threads: readonly ThreadRights[] = answer.threads;
    // CAP_SYS_ADMIN, CAP_PERFMON and CAP_BPF; CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
    expect(answer).toMatchObject({ held: "c000200000", own: "80004", failed: 0, again: true });
    // Signal 61, by which threads are asked.
    const blocking = threads.filter(({ blocked }) => ((BigInt(`0x${blocked}`) >> 60n) & 1n) === 1n);
    expect(answer.unreached).toBe(blocking.length);
    expect(blocking.length).toBeLessThanOrEqual(1);
    const reached = threads.filter((thread) => !blocking.includes(thread));
    expect(reached.filter(({ effective }) => effective === "000000c000200000")).toHaveLength(1);
    expect(reached.filter(({ effective }) => effective === "0000000000080004")).toHaveLength(reached.length - 1);
    expect(new Set(reached.map(({ newPrivileges }) => newPrivileges))).toEqual(new Set(["1"]));
  });
});
