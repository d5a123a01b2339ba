/** Spans to duration partials, half-dependencies and kept spans. A span belongs to the window of its end. */
import { hash32, partitionOf } from "../contract/canonical.ts";
import { derivedMetric } from "../contract/series.ts";
import type { KeptSpan, SpanKind } from "../contract/window.ts";
import { attributeText } from "./attribute-keys.ts";
import { bucketIndex } from "./histogram.ts";
import type { OtlpSpan } from "./otlp-model.ts";
import type { ReduceContext } from "./reduce-context.ts";
import { isKernelScope } from "./reduce-kernel.ts";
import { accumulatorKey, addSlowSpan, compareSlowness, type WindowPart } from "./reduction.ts";
import { peerKey, peerProtocol } from "./span-peer.ts";
import { boundedText, shortenedText, singleLine } from "./text.ts";

const operationLengthMax = 256;
const messageLengthMax = 512;
const zeroTraceId = "0".repeat(32);
const zeroSpanId = "0".repeat(16);

/** By OTLP's number; unspecified means internal. */
const kinds: readonly SpanKind[] = ["internal", "internal", "server", "client", "producer", "consumer"];

/** Reduces one span, or counts why it is refused. */
export function reduceSpan(context: ReduceContext, span: OtlpSpan): void {
  const entity = context.entityOr(1);
  if (entity === null) return;
  const kind = kinds[span.kind];
  const durationNs = (span.endAt.us - span.startAt.us) * 1_000 + (span.endAt.ns - span.startAt.ns);
  if (kind === undefined || !spanAccepted(context, span, durationNs)) {
    if (kind === undefined) context.reject("unknown-enum", () => `${named(context, span)} has the kind ${span.kind}`);
    return;
  }
  const window = context.windowAt(span.endAt.us);
  const operation = boundedText(singleLine(span.name === "" ? "(unnamed)" : span.name), operationLengthMax);
  const calls = kind === "client" || kind === "producer";
  const peer = calls ? peerKey(span.attributes) : null;
  const failed = span.statusCode === 2;
  const kernel = isKernelScope(context.scope);
  // The agent sends a few spans of many requests: its histograms have counted all of them.
  if (!kernel)
    addDuration(window, {
      metric: calls ? derivedMetric.clientDuration : kind === "internal" ? derivedMetric.internalDuration : derivedMetric.serverDuration,
      attributes: calls ? `peer=${peer ?? "unknown"}` : `operation=${attributeText(operation, operationLengthMax)}`,
      durationNs,
      failed: failed ? 1 : 0,
    });
  if (kind !== "internal") addHalves(context, span, { entity, kind, peer, kernel });
  keepSpan(context, window, span, { entity, kind, operation, peer, durationNs, failed, kernel });
}

function spanAccepted(context: ReduceContext, span: OtlpSpan, durationNs: number): boolean {
  const what = () => named(context, span);
  if (!isId(span.traceId, zeroTraceId) || !isId(span.spanId, zeroSpanId)) {
    return context.reject("id-invalid", () => `${what()} has the trace id "${span.traceId}" and the span id "${span.spanId}"`);
  }
  if (span.parentSpanId !== "" && span.parentSpanId !== zeroSpanId && !isId(span.parentSpanId, zeroSpanId)) {
    return context.reject("id-invalid", () => `${what()} has the parent span id "${span.parentSpanId}"`);
  }
  if (span.statusCode < 0 || span.statusCode > 2) {
    return context.reject("unknown-enum", () => `${what()} has the status code ${span.statusCode}`);
  }
  if (!context.timeAccepted(span.endAt, what)) return false;
  if (span.startAt.us === 0 && span.startAt.ns === 0) return context.reject("time-missing", () => `${what()} has no start time`);
  if (durationNs < 0) return context.reject("duration-negative", () => `${what()} ends before it starts`);
  if (durationNs > context.options.spanDurationMaxMs * 1e6) {
    return context.reject("duration-out-of-range", () => `${what()} took ${durationNs} ns`);
  }
  return true;
}

function named(context: ReduceContext, span: OtlpSpan): string {
  return `span "${span.name.slice(0, 80)}" of ${context.entityName}`;
}

/** Whether a text is an id in hex of the length of `zero`, and not zero. */
function isId(text: string, zero: string): boolean {
  return text.length === zero.length && text !== zero && /^[0-9a-f]+$/.test(text);
}

function addDuration(window: WindowPart, item: { metric: string; attributes: string; durationNs: number; failed: number }): void {
  const { metric, attributes, durationNs, failed } = item;
  const key = accumulatorKey({
    kind: "duration",
    metric,
    attributes,
    count: 0,
    failed: 0,
    sumNs: 0,
    minNs: 0,
    maxNs: 0,
    buckets: noBuckets,
  });
  const found = window.partials.get(key);
  const bucket = bucketIndex(durationNs);
  if (found?.kind !== "duration") {
    const buckets = new Map([[bucket, 1]]);
    window.partials.set(key, {
      kind: "duration",
      metric,
      attributes,
      count: 1,
      failed,
      sumNs: durationNs,
      minNs: durationNs,
      maxNs: durationNs,
      buckets,
    });
    return;
  }
  found.count += 1;
  found.failed += failed;
  found.sumNs = Math.min(found.sumNs + durationNs, Number.MAX_SAFE_INTEGER);
  found.minNs = Math.min(found.minNs, durationNs);
  found.maxNs = Math.max(found.maxNs, durationNs);
  found.buckets.set(bucket, (found.buckets.get(bucket) ?? 0) + 1);
}

const noBuckets: Map<number, number> = new Map();

/**
 * Callers carry their own span id, callees their parent's. A consumer without a parent is called by what its links name,
 * as messaging conventions have it.
 */
function addHalves(context: ReduceContext, span: OtlpSpan, side: Pick<SpanFacts, "entity" | "kind" | "peer" | "kernel">): void {
  const { entity, kind, peer } = side;
  const source = side.kernel ? ({ learnedFrom: "kernel" } as const) : {};
  const common = { entity, protocol: peerProtocol(span.attributes), atMs: Math.floor(span.endAt.us / 1_000), ...source };
  const add = (traceId: string, spanId: string | null, which: "client" | "server") =>
    context.reduction.halves[partitionOf(traceId)]?.push({ traceId, spanId, side: which, peer, ...common });
  if (kind === "client" || kind === "producer") {
    add(span.traceId, span.spanId, "client");
    return;
  }
  const parent = span.parentSpanId === "" || span.parentSpanId === zeroSpanId ? null : span.parentSpanId;
  const links = kind === "consumer" && parent === null ? span.links : [];
  const callers = links.filter((link) => isId(link.traceId, zeroTraceId) && isId(link.spanId, zeroSpanId));
  if (callers.length === 0) add(span.traceId, parent, "server");
  for (const link of callers) add(link.traceId, link.spanId, "server");
}

interface SpanFacts {
  readonly entity: string;
  readonly kind: SpanKind;
  readonly operation: string;
  readonly peer: string | null;
  readonly durationNs: number;
  readonly failed: boolean;
  /** Sent by the agent. */
  readonly kernel: boolean;
}

/** Builds the span only when it is a candidate: failed, sampled by trace id, or among the slowest so far. */
function keepSpan(context: ReduceContext, window: WindowPart, span: OtlpSpan, facts: SpanFacts): void {
  const { options } = context;
  // The agent's spans take no place from those of the program, which are of the same requests.
  const key = `${facts.kernel ? "~" : ""}${facts.kind}\n${facts.operation}`;
  const slow = window.slowSpans.get(key) ?? [];
  const slowest = slow.at(-1);
  const mayBeSlow = slow.length < options.slowestPerOperation || slowest === undefined || facts.durationNs >= slowest.durationNs;
  const sampled = !facts.failed && hash32(span.traceId) % options.spanSampleOneIn === 0;
  if (!facts.failed && !sampled && !mayBeSlow) return;
  const kept = keptSpan(context, span, facts);
  if (mayBeSlow && (slow.length < options.slowestPerOperation || slowest === undefined || compareSlowness(kept, slowest) < 0)) {
    addSlowSpan(slow, kept, options.slowestPerOperation);
    window.slowSpans.set(key, slow);
  }
  if (facts.failed) window.failedSpans.push(kept);
  else if (sampled) window.sampledSpans.push(kept);
}

function keptSpan(context: ReduceContext, span: OtlpSpan, facts: SpanFacts): KeptSpan {
  const { entity, kind, operation, peer, durationNs, failed } = facts;
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId === "" || span.parentSpanId === zeroSpanId ? null : span.parentSpanId,
    entity,
    operation,
    kind,
    peer,
    startAtUs: span.startAt.us,
    durationNs,
    failed,
    statusMessage: shortenedText(span.statusMessage, messageLengthMax),
    exception: exceptionText(span),
    windowStartMs: context.windowStartMs(span.endAt.us),
    // Merging decides between slow and sampled; failed is final.
    keptBecause: failed ? "failed" : "sampled",
    ...(facts.kernel ? ({ source: "kernel" } as const) : {}),
  };
}

function exceptionText(span: OtlpSpan): string | null {
  if (span.exception === null) return null;
  const parts = [span.exception.get("exception.type"), span.exception.get("exception.message")];
  const text = parts.filter((part) => part !== undefined && part !== "").join(": ");
  return text === "" ? "exception" : shortenedText(text, messageLengthMax);
}
