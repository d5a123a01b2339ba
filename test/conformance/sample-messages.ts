/** Small valid values of the contracts, told apart by a number or a name. */
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { DurationWindow, SeriesSamples, TelemetryAppend, TemplateCount } from "../../contract/port.ts";
import type { QueueMessage } from "../../contract/topic.ts";
import type { RankResult } from "../../contract/verdict.ts";
import type { KeptLine, KeptSpan, WindowEntry } from "../../contract/window.ts";

/** A moment in the middle of a UTC day, 2025-03-10. */
export const noonMs = Date.UTC(2025, 2, 10, 12);

export function aTelemetryBatch(id: string, bodyBytes = 8): QueueMessage<"telemetry"> {
  const body = Uint8Array.from({ length: bodyBytes }, (_, index) => (index * 7 + id.length) % 256);
  return { id, tenant: "default", gateway: "g", source: "s", sequence: 0, signal: "traces", encoding: "protobuf", receivedAtMs: 1, body };
}

export function aChange(id: string): QueueMessage<"change"> {
  return { id, atMs: 1, entity: "pay", kind: "deploy", summary: "v2", actor: null, undo: null };
}

export function aVerdictRequest(id: string): QueueMessage<"verdict-request"> {
  return { id, incident: "i", version: 1, askedForMs: 5, reason: "onset+5s", onsetMs: 0, symptoms: [] };
}

/** Names a cause in a sentence, and says nothing else. */
export function aRankResult(sentence: string): RankResult {
  const interval = { fromMs: 0, toMs: 1 };
  const empty = { ranking: [], counterEvidence: [], blindSpots: [] };
  return { schemaVersion: 1, conclusion: "cause", confidence: null, sentence, onsetMs: null, normal: interval, fault: interval, ...empty };
}

export function anAlert(id: string): QueueMessage<"alert"> {
  return { id, entity: "shop", objective: "availability", startsAtMs: 1, endsAtMs: null, summary: "burning" };
}

export function aWindowEntry(source: string): WindowEntry {
  return { progress: [{ source, sequence: 0, atUs: 1, receivedAtMs: 0 }], partials: [], spans: [], shapes: [], lines: [] };
}

export function anEntity(id: string, options: { seenMs: number } & Partial<Entity>): Entity {
  const { seenMs, ...rest } = options;
  const base = { id, type: "service" as const, namespace: null, name: id, version: null, host: null, zone: null, alias: null };
  return { ...base, entry: false, firstSeenMs: seenMs, lastSeenMs: seenMs, ...rest };
}

export function aDependency(source: string, target: string, options: Partial<Dependency> & { validFromMs: number }): Dependency {
  const id = `${source}>${target}`;
  const base = { id, source, target, protocol: "http", validToMs: null, learnedFrom: "spans" as const, confidence: 1, addresses: [] };
  return { ...base, lastSeenMs: options.validFromMs, ...options };
}

export function aSeries(
  options: { entity: string; metric?: string; windowStartMs: number; value: number } & Partial<SeriesSamples>,
): SeriesSamples {
  const { entity, metric = "cpu", windowStartMs, value, ...rest } = options;
  const key = { entity, metric, statistic: "value" as const, attributes: "" };
  return {
    key,
    unit: "1",
    state: "tracked",
    readyAtMs: null,
    samples: [{ windowStartMs, value, lower: 0, upper: 2, score: 0.5 }],
    ...rest,
  };
}

export function aSpan(n: number, options: Partial<KeptSpan> & { windowStartMs: number }): KeptSpan {
  const base = {
    traceId: hex(n, 32),
    spanId: hex(n, 16),
    parentSpanId: null,
    entity: "pay",
    operation: "GET /pay",
    kind: "server" as const,
  };
  const measured = {
    peer: null,
    startAtUs: options.windowStartMs * 1_000,
    durationNs: 5_000_000,
    failed: false,
    statusMessage: "",
    exception: null,
  };
  return { ...base, ...measured, keptBecause: "slow", ...options };
}

export function aLine(body: string, options: Partial<KeptLine> & { windowStartMs: number }): KeptLine {
  const base = { entity: "pay", atUs: options.windowStartMs * 1_000, severity: "ERROR" as const, body, shape: hex(1, 16) };
  return { ...base, traceId: null, spanId: null, ...options };
}

export function aTemplateCount(options: Partial<TemplateCount> & { windowStartMs: number }): TemplateCount {
  return { entity: "pay", template: hex(1, 16), severity: "ERROR", text: "failed <*>", count: 1, ...options };
}

export function aDuration(options: Partial<DurationWindow> & { windowStartMs: number }): DurationWindow {
  const base = { entity: "pay", metric: "span.server.duration", attributes: "", count: 3, failed: 1, sumNs: 9_000_000_000_000 };
  return {
    ...base,
    buckets: [
      [10, 1],
      [320, 2],
    ],
    ...options,
  };
}

/** The append of a partition that learned something of every kind in one window of the day; `n` makes key, window and values. */
export function aTelemetryAppend(n: number): TelemetryAppend {
  const windowStartMs = noonMs + n * 100;
  return {
    key: `${n % 16}/${windowStartMs}/0`,
    windowStartMs,
    series: [aSeries({ entity: `e-${n % 4}`, windowStartMs, value: n })],
    durations: [aDuration({ windowStartMs, count: n })],
    spans: [aSpan(n, { windowStartMs })],
    templates: [aTemplateCount({ windowStartMs, count: n })],
    lines: [aLine(`line ${n}`, { windowStartMs })],
  };
}

export function hex(n: number, digits: number): string {
  return (n + 1).toString(16).padStart(digits, "0");
}
