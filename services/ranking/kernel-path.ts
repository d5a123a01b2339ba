/** What of the kernel a verdict rests on: series and operations with their windows, and events with the batches that brought them. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import type { EvidenceSnapshot, Interval, SnapshotTemplate } from "../../contract/evidence.ts";
import { kernelEventOf } from "../../contract/kernel-telemetry.ts";
import type { TelemetryStore } from "../../contract/port.ts";
import type { KernelPath, RankResult } from "../../contract/verdict.ts";
import type { KeptLine } from "../../contract/window.ts";

const samplesMax = 100;
const eventsMax = 100;
/** Lines of one template that are asked for. */
const linesMax = 50;
const textLengthMax = 300;

/**
 * Null where no candidate's evidence is of the kernel. Not part of what is sealed: how events fell into batches is chance. Asks the store for
 * the lines of at most `eventsMax` templates.
 */
export async function kernelPathOf(
  of: { readonly snapshot: EvidenceSnapshot; readonly result: RankResult },
  telemetry: TelemetryStore,
): Promise<KernelPath | null> {
  const { snapshot, result } = of;
  const used = new Set(result.ranking.flatMap(({ claims }) => claims.flatMap(({ evidence }) => evidence)));
  const isUsed = ({ id, source }: { readonly id: string; readonly source?: "kernel" }): boolean => source === "kernel" && used.has(id);
  const samples = [...seriesSamples(snapshot, isUsed), ...operationSamples(snapshot, isUsed)];
  const templates = snapshot.templates.filter(isUsed);
  if (samples.length === 0 && templates.length === 0) return null;
  const events = await eventsOf(templates.slice(0, eventsMax), { fault: snapshot.fault, telemetry });
  return {
    samples: sortedBy(samples, ({ id }) => id).slice(0, samplesMax),
    events: events.slice(0, eventsMax),
    left: Math.max(0, samples.length - samplesMax) + Math.max(0, events.length - eventsMax) + Math.max(0, templates.length - eventsMax),
  };
}

type IsUsed = (item: { readonly id: string; readonly source?: "kernel" }) => boolean;

/** The windows of the fault that a series has a value in; of one that has none there, those that it had before. */
function seriesSamples(snapshot: EvidenceSnapshot, isUsed: IsUsed): KernelPath["samples"] {
  const { fault, windowMs } = snapshot;
  return snapshot.series.filter(isUsed).map(({ id, atMs }) => {
    const during = atMs.filter((at) => at >= fault.fromMs && at < fault.toMs);
    const windows = during.length > 0 ? during : atMs;
    return { id, fromMs: windows[0] ?? fault.fromMs, toMs: (windows.at(-1) ?? fault.fromMs) + windowMs, windows: windows.length };
  });
}

function operationSamples({ operations, fault, windowMs }: EvidenceSnapshot, isUsed: IsUsed): KernelPath["samples"] {
  const windows = Math.max(1, Math.round((fault.toMs - fault.fromMs) / windowMs));
  return operations.filter(isUsed).map(({ id }) => ({ id, fromMs: fault.fromMs, toMs: fault.toMs, windows }));
}

async function eventsOf(
  templates: readonly SnapshotTemplate[],
  of: { readonly fault: Interval; readonly telemetry: TelemetryStore },
): Promise<KernelPath["events"]> {
  const range = { fromMs: of.fault.fromMs, toMs: of.fault.toMs, templatesMax: linesMax };
  const lines: KeptLine[] = [];
  for (const { id, entity } of templates) {
    const template = id.slice(id.lastIndexOf("|") + 1);
    lines.push(...(await of.telemetry.lines({ ...range, entities: [entity], template })));
  }
  return lines
    .flatMap(({ entity, atUs, body, batch }) => {
      const event = kernelEventOf(body);
      return event === null
        ? []
        : [{ entity, event, atMs: Math.floor(atUs / 1_000), text: body.slice(0, textLengthMax), batch: batch ?? null }];
    })
    .sort(
      (left, right) => left.atMs - right.atMs || compareCodeUnits(left.entity, right.entity) || compareCodeUnits(left.text, right.text),
    );
}
