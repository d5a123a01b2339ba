/** What is wrong with Headwater itself: the sentence first, then what it means, then what to do. */
import type { Overview, OverviewProcess, Trouble } from "../../contract/route.ts";
import { disconnectedMs } from "../session.ts";
import { useStore } from "../store.ts";
import { weightWord } from "../wording.ts";
import { Command } from "./command.tsx";
import { Time } from "./time.tsx";

export function TroubleList(props: { troubles: readonly Trouble[]; now: number }) {
  if (props.troubles.length === 0) return null;
  return (
    <section aria-label="What is wrong with Headwater itself">
      <ul class="troubles">
        {props.troubles.map((trouble) => (
          <TroubleItem key={trouble.id} trouble={trouble} now={props.now} />
        ))}
      </ul>
    </section>
  );
}

function TroubleItem(props: { trouble: Trouble; now: number }) {
  const { trouble, now } = props;
  return (
    <li class={`trouble trouble-${trouble.weight}`}>
      <p class="trouble-sentence">{trouble.sentence}</p>
      <p class="aside">
        {weightWord[trouble.weight]}
        {trouble.sinceMs === null ? null : (
          <>
            {" since "}
            <Time at={trouble.sinceMs} now={now} />
          </>
        )}
      </p>
      <p>{trouble.meaning}</p>
      {trouble.details.length === 0 ? null : (
        <ul class="trouble-details">
          {trouble.details.map((detail) => (
            <li key={detail}>{detail}</li>
          ))}
        </ul>
      )}
      {trouble.command === null ? null : (
        <>
          {trouble.commandHost === null ? null : <p class="aside">On {trouble.commandHost}:</p>}
          <Command text={trouble.command} />
        </>
      )}
    </li>
  );
}

/** The one trouble that the API cannot tell: that it does not answer itself. */
export function ConnectionTrouble(props: { overview: Overview | null; now: number }) {
  const sinceMs = useStore(disconnectedMs);
  if (sinceMs === null) return null;
  const meaning = isAlone(props.overview?.processes ?? [])
    ? "Its process ended, is paused, or cannot be reached. What is below is as it was then."
    : "Its process ended, is paused, or cannot be reached; the others work on without it. What is below is as it was then.";
  const trouble: Trouble = {
    id: "connection",
    weight: "stopped",
    sentence: "The API of Headwater does not answer.",
    meaning,
    details: [],
    command: null,
    commandHost: null,
    sinceMs,
  };
  return <TroubleList troubles={[trouble]} now={props.now} />;
}

/** Whether the API's process is all there is. */
function isAlone(processes: readonly OverviewProcess[]): boolean {
  return processes.filter(({ state }) => state !== "replaced").length <= 1;
}
