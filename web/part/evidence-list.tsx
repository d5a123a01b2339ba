/** Why: claims with their charts on one time axis, each linking to its own spans and lines. */
import type { Change } from "../../contract/change.ts";
import type { EvidenceSnapshot, SnapshotOperation, SnapshotTemplate } from "../../contract/evidence.ts";
import type { SeriesWithBand } from "../../contract/route.ts";
import { type EvidenceChart, type EvidenceItem, nameOf, ownerOf, pointsOf } from "../evidence.ts";
import { formatSeconds, formatShare, formatTime } from "../format.ts";
import { serviceAddress } from "../router.ts";
import { seriesName } from "../wording.ts";
import { Chart } from "./chart.tsx";

/** What all charts of an incident share. */
export interface EvidenceFrame {
  readonly snapshot: EvidenceSnapshot | null;
  readonly fromMs: number;
  readonly toMs: number;
  readonly onsetMs: number | null;
  readonly changes: readonly Change[];
  readonly stored: readonly SeriesWithBand[];
  readonly now: number;
}

export function EvidenceList(props: { items: readonly EvidenceItem[]; frame: EvidenceFrame }) {
  return (
    <ol class="evidence">
      {props.items.map((item) => (
        <EvidenceEntry key={item.claim.text} item={item} frame={props.frame} />
      ))}
    </ol>
  );
}

function EvidenceEntry(props: { item: EvidenceItem; frame: EvidenceFrame }) {
  const { item, frame } = props;
  return (
    <li>
      <p class="claim">
        {item.claim.text}
        {item.claim.onsetMs === null ? null : <span class="aside"> since {formatTime(item.claim.onsetMs, frame.now)}</span>}
        {item.claim.source === "kernel" ? <span class="aside"> seen by the kernel</span> : null}
      </p>
      {item.charts.map((chart) => (
        <SeriesChart key={chart.id} chart={chart} frame={frame} />
      ))}
      {item.operations.map((operation) => (
        <OperationFacts key={operation.id} operation={operation} frame={frame} />
      ))}
      {item.templates.map((template) => (
        <TemplateFacts key={template.id} template={template} frame={frame} />
      ))}
      {item.changes.map((change) => (
        <p key={change.id} class="fact">
          {change.kind} of <a href={serviceAddress(change.entity)}>{change.entity}</a> at {formatTime(change.atMs, frame.now)}:{" "}
          {change.summary}
        </p>
      ))}
    </li>
  );
}

/** One series, named, with its links. */
export function SeriesChart(props: { chart: EvidenceChart; frame: EvidenceFrame }) {
  const { chart, frame } = props;
  const { series } = chart;
  const range = { from: frame.fromMs, to: frame.toMs };
  const entity = ownerOf(series.entity, frame.snapshot);
  return (
    <figure>
      <figcaption>
        <span class="caption-name">
          <a href={serviceAddress(entity, range)}>{nameOf(series.entity, frame.snapshot)}</a> {seriesName(series)}
        </span>
        <span class="links">
          <a href={serviceAddress(entity, { ...range, show: "spans" })}>spans</a>
          <a href={serviceAddress(entity, { ...range, show: "lines" })}>lines</a>
        </span>
      </figcaption>
      <Chart
        label={`${series.entity} ${seriesName(series)}`}
        points={pointsOf(chart, frame.stored)}
        unit={series.unit}
        fromMs={frame.fromMs}
        toMs={frame.toMs}
        onsetMs={frame.onsetMs}
        changesMs={frame.changes.map((change) => change.atMs)}
      />
    </figure>
  );
}

function OperationFacts(props: { operation: SnapshotOperation; frame: EvidenceFrame }) {
  const { operation, frame } = props;
  const { normal, abnormal } = operation;
  const range = { from: frame.fromMs, to: frame.toMs };
  const share = (one: { count: number; failed: number }): string => (one.count === 0 ? "none" : formatShare(one.failed / one.count));
  const trace = operation.examples[0]?.split("/")[0];
  return (
    <div class="fact">
      <p>
        <strong>{operation.operation}</strong> p95 {formatSeconds(normal.p95Ns / 1e9)} → {formatSeconds(abnormal.p95Ns / 1e9)}, failed{" "}
        {share(normal)} → {share(abnormal)}
        {operation.exception === null ? "" : `, with ${operation.exception}`}
      </p>
      <p class="links">
        <a href={serviceAddress(operation.entity, { ...range, show: "spans" })}>its spans</a>
        {trace === undefined ? null : <a href={serviceAddress(operation.entity, { ...range, show: "spans", trace })}>an example</a>}
      </p>
    </div>
  );
}

function TemplateFacts(props: { template: SnapshotTemplate; frame: EvidenceFrame }) {
  const { template, frame } = props;
  const id = template.id.slice(template.id.lastIndexOf("|") + 1);
  return (
    <div class="fact">
      <p>
        {template.severity} <code>{template.text}</code>
      </p>
      <p>
        {template.normalCount} times before, {template.abnormalCount} times since.
      </p>
      <p class="links">
        <a href={serviceAddress(template.entity, { from: frame.fromMs, to: frame.toMs, show: "lines", template: id })}>its lines</a>
      </p>
    </div>
  );
}
