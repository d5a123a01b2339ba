/** Kept spans: slowest and failed ones first to see; of one trace in their order, with their place in it. */
import type { KeptSpan } from "../../contract/window.ts";
import { formatSeconds, formatTime } from "../format.ts";
import { serviceAddress } from "../router.ts";

export interface SpanTableProps {
  readonly spans: readonly KeptSpan[];
  /** Where links to traces stay. */
  readonly range: { readonly from: number; readonly to: number };
  readonly traceId: string | null;
  readonly now: number;
}

export function SpanTable(props: SpanTableProps) {
  const ordered = props.traceId === null ? [...props.spans].sort(worstSpanFirst) : props.spans;
  const begin = Math.min(...props.spans.map((span) => span.startAtUs));
  const end = Math.max(...props.spans.map((span) => span.startAtUs + span.durationNs / 1_000));
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">time</th>
            <th scope="col">operation</th>
            <th scope="col" class="figure">
              took
            </th>
            {props.traceId === null ? null : <th scope="col">in the trace</th>}
            <th scope="col">ended</th>
            <th scope="col">trace</th>
          </tr>
        </thead>
        <tbody>
          {ordered.map((span) => (
            <tr key={`${span.traceId} ${span.spanId}`}>
              <td>{formatTime(span.startAtUs / 1_000, props.now)}</td>
              <th scope="row">
                {props.traceId === null ? null : <span class="aside">{span.entity} </span>}
                {span.operation} <span class="aside">{span.kind}</span>
              </th>
              <td class="figure" data-label="took">
                {formatSeconds(span.durationNs / 1e9)}
              </td>
              {props.traceId === null ? null : (
                <td>
                  <span class="bar">
                    <span style={barOf(span, begin, end)} />
                  </span>
                </td>
              )}
              <td class="wide">{span.failed ? `failed: ${span.exception ?? (span.statusMessage || "no message")}` : "well"}</td>
              <td data-label="trace">
                <a href={serviceAddress(span.entity, { ...props.range, show: "spans", trace: span.traceId })}>{span.traceId.slice(0, 8)}</a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function worstSpanFirst(left: KeptSpan, right: KeptSpan): number {
  if (left.failed !== right.failed) return left.failed ? -1 : 1;
  return right.durationNs - left.durationNs;
}

function barOf(span: KeptSpan, begin: number, end: number): { left: string; width: string } {
  const whole = Math.max(1, end - begin);
  const width = Math.max(1, (100 * span.durationNs) / 1_000 / whole);
  return { left: `${(100 * (span.startAtUs - begin)) / whole}%`, width: `${Math.min(100, width)}%` };
}
