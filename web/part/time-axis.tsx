/** The one time axis above a group of charts: ticks, changes as triangles, and where the onset is. */
import type { Change } from "../../contract/change.ts";
import { formatTime } from "../format.ts";
import { timeTicks } from "../time-ticks.ts";

export interface TimeAxisProps {
  readonly fromMs: number;
  readonly toMs: number;
  readonly onsetMs: number | null;
  readonly changes: readonly Change[];
  readonly now: number;
}

/** More would touch one another on a phone. */
const ticksMax = 4;

export function TimeAxis(props: TimeAxisProps) {
  const { fromMs, toMs, onsetMs, now } = props;
  const left = (atMs: number): string => `${(100 * (atMs - fromMs)) / Math.max(1, toMs - fromMs)}%`;
  // A label too near to the right edge would stand outside of the page.
  const ticks = timeTicks(fromMs, toMs, ticksMax).filter((atMs) => atMs < fromMs + 0.9 * (toMs - fromMs));
  const changes = props.changes.filter((change) => change.atMs >= fromMs && change.atMs <= toMs);
  return (
    <div class="time-axis">
      <div class="time-axis-plot">
        {ticks.map((atMs) => (
          <span key={atMs} class="tick" style={{ left: left(atMs) }}>
            {formatTime(atMs, now)}
          </span>
        ))}
        {changes.map((change) => (
          <a
            key={change.id}
            class="change-mark"
            style={{ left: left(change.atMs) }}
            href="/changes"
            title={`${formatTime(change.atMs, now)} ${change.kind} of ${change.entity}: ${change.summary}`}
          >
            <span class="unseen">{`Change: ${change.kind} of ${change.entity}, ${change.summary}`}</span>
            <svg width="12" height="10" viewBox="0 0 12 10" aria-hidden="true">
              <path d="M1 1h10l-5 8z" />
            </svg>
          </a>
        ))}
        {onsetMs !== null && onsetMs >= fromMs && onsetMs <= toMs ? (
          <span class={`onset ${onsetMs > (fromMs + toMs) / 2 ? "onset-left" : ""}`} style={{ left: left(onsetMs) }}>
            onset {formatTime(onsetMs, now)}
          </span>
        ) : null}
      </div>
    </div>
  );
}
