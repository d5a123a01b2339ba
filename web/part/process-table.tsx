/** The processes that Headwater is made of: one quiet line where it is one, a table where there are more, folded while all is well. */
import { useState } from "preact/hooks";
import type { OverviewProcess } from "../../contract/route.ts";
import { countOf } from "../format.ts";
import { partitionWords, processWord } from "../wording.ts";
import { Time } from "./time.tsx";

/** Rows drawn; an installation with more processes shows those that need a look first. */
const rowsMax = 100;

export function ProcessLine(props: { processes: readonly OverviewProcess[] }) {
  const [process] = props.processes;
  if (process === undefined) return null;
  return (
    <p class="aside process-line">
      One process does all of it: {process.host}, pid {process.pid}, version {process.version}.
    </p>
  );
}

export function ProcessTable(props: { processes: readonly OverviewProcess[]; now: number }) {
  const [chosen, setChosen] = useState<"open" | "folded" | null>(null);
  const current = props.processes.filter(({ state }) => state !== "replaced");
  const unwell = current.filter(({ state }) => state !== "ready");
  // While nobody can be heard the table has nothing to say.
  const open = chosen === null ? unwell.some(({ state }) => state !== "unknown") : chosen === "open";
  const versions = new Set(current.map(({ version }) => version)).size > 1 ? "several" : "one";
  const shown = current.length <= rowsMax ? current : [...unwell, ...current.filter(({ state }) => state === "ready")].slice(0, rowsMax);
  return (
    <section aria-label="Processes" class="processes">
      <button type="button" class="fold" aria-expanded={open} onClick={() => setChosen(open ? "folded" : "open")}>
        <span aria-hidden="true">{open ? "▾" : "▸"}</span> {summaryOf(current)}
      </button>
      {open ? (
        <div class="scroll">
          <table class="cards compact">
            <thead>
              <tr>
                <th scope="col">process</th>
                <th scope="col">host</th>
                <th scope="col">state</th>
                <th scope="col">works on partitions</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((process) => (
                <ProcessRow key={process.id} process={process} versions={versions} now={props.now} />
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
      {open && shown.length < current.length ? <p class="aside">{current.length - shown.length} more, all ready.</p> : null}
    </section>
  );
}

/** "8 processes, all ready", "8 processes: 5 ready, 3 do not answer". */
function summaryOf(processes: readonly OverviewProcess[]): string {
  const counts = new Map<string, number>();
  for (const { state } of processes) {
    const { word } = processWord[state];
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const total = countOf(processes.length, "process", "processes");
  if (processes.every(({ state }) => state === "unknown")) return `${total}; how they are is not known`;
  const [only] = counts.size === 1 ? counts.keys() : [];
  if (only !== undefined) return `${total}, ${processes.length === 1 ? "" : "all "}${only}`;
  return `${total}: ${[...counts].map(([word, count]) => `${count} ${word}`).join(", ")}`;
}

function ProcessRow(props: { process: OverviewProcess; versions: "one" | "several"; now: number }) {
  const { process, now } = props;
  const { word, shape } = processWord[process.state];
  return (
    <tr class={`process process-${process.state}`}>
      <th scope="row">{process.roles.join(", ")}</th>
      <td>
        <span class="process-host">{process.host}</span>{" "}
        <span class="aside">
          pid {process.pid}
          {props.versions === "several" ? `, version ${process.version}` : null}
        </span>
      </td>
      <td class="process-said">
        <span class="process-state">
          <span aria-hidden="true">{shape}</span> {word}
        </span>
        {process.state === "lost" ? <span class="aside">, killed or paused</span> : null}
        {process.lostSinceMs === null ? null : (
          <>
            {"; heard of last "}
            <Time at={process.lostSinceMs} now={now} />
          </>
        )}
        {process.state === "waiting" || process.state === "starting" ? <Reasons reasons={process.reasons} /> : null}
      </td>
      <td class="aside">{partitionWords(process.partitions)}</td>
    </tr>
  );
}

function Reasons(props: { reasons: readonly string[] }) {
  return (
    <>
      {props.reasons.map((reason) => (
        <span key={reason} class="aside reason">
          {reason}
        </span>
      ))}
    </>
  );
}
