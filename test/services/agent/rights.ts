/** Run as `node --import tsx rights.ts`, as root: gives up rights as the agent does, then says what each thread has left. */
import { readdirSync, readFileSync } from "node:fs";
import { KernelProbe } from "../../../native/kernel-probe.ts";
import { openKernelSource, readerBounds } from "../../../services/agent/kernel-source.ts";
import { giveUpRights } from "../../../services/agent/privilege.ts";
import { startFromTypeScript } from "./typescript-worker.ts";

/** Of a thread, as `/proc` says it: masks in hexadecimal. */
export interface ThreadRights {
  readonly effective: string | undefined;
  readonly blocked: string | undefined;
  readonly newPrivileges: string | undefined;
}

const [, , object = ""] = process.argv;

const opened = await openKernelSource(
  {
    objects: [{ name: "counting", path: object }],
    programs: ["count_calls"],
    ringBytes: {},
    mapEntriesMax: {},
    settings: {},
    rings: [],
    maps: [],
    iterators: [],
    ...readerBounds,
  },
  startFromTypeScript,
);
if (!opened.ok) throw new Error(opened.reason);
const { source } = opened;
const given = await giveUpRights(source);
const threads = readdirSync("/proc/self/task").map((thread): ThreadRights => {
  const status = readFileSync(`/proc/self/task/${thread}/status`, "utf8");
  const word = (name: string) => new RegExp(`^${name}:\\s+(\\w+)`, "m").exec(status)?.[1];
  return { effective: word("CapEff"), blocked: word("SigBlk"), newPrivileges: word("NoNewPrivs") };
});
await source.detach("count_calls");
const again = await source.attach("count_calls");
await source.countRuns("on");
const held = KernelProbe.available().ok ? KernelProbe.heldCapabilities().toString(16) : "";
const answer = { ...given, held: given.held.toString(16), own: held, again: again.attached, threads };
process.stdout.write(`${JSON.stringify(answer)}\n`);
await source.close();
