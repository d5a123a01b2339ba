/**
 * What the agent sends under names of its own making: requests as histograms that become durations without loss, and attributes that tell its
 * series from those of the programs.
 */
import {
  connectionMetric,
  isConnectionMetric,
  isFromKernel,
  kernelScope,
  kernelSourceAttribute,
  processMetric,
  requestDurationMetrics,
} from "../contract/kernel-telemetry.ts";
import { derivedMetric } from "../contract/series.ts";
import { attributeText, seriesAttributes, withAttribute } from "./attribute-keys.ts";
import { durationBuckets } from "./duration-bounds.ts";
import { bucketLowerBound, bucketUpperBound } from "./histogram.ts";
import type { OtlpAttributes, OtlpDistributionPoint, OtlpTime } from "./otlp-model.ts";
import type { ReduceContext } from "./reduce-context.ts";
import type { Accumulator, WindowPart } from "./reduction.ts";
import { peerKey } from "./span-peer.ts";
import { boundedText, singleLine } from "./text.ts";

const operationLengthMax = 256;
/** Bounds of one point: every bucket that a duration can fall into, from both sides. */
const durationBoundsMax = 2_048;
/** The longest duration that is counted exactly, in seconds. */
const boundMax = Number.MAX_SAFE_INTEGER / 1e9;

const servers: ReadonlySet<string> = new Set(requestDurationMetrics.server);
const clients: ReadonlySet<string> = new Set(requestDurationMetrics.client);

/** Whether the agent's requests are counted in this metric. */
export function isRequestDuration(metric: string): boolean {
  return servers.has(metric) || clients.has(metric);
}

/** Whether a scope is the agent's. */
export function isKernelScope(scope: string): boolean {
  return scope === kernelScope;
}

/**
 * The moment by which a point of the agent falls into a window. It speaks of the time from its start up to its own time, which is not part
 * of it: what ended with a window belongs to that window.
 */
export function kernelPointUs(point: { startAt: OtlpTime; at: OtlpTime }): number {
  const begunUs = point.startAt.us;
  return begunUs > 0 && begunUs < point.at.us && point.at.ns === 0 ? point.at.us - 1 : point.at.us;
}

/** The key of one of the agent's series: the callee instead of its parts, and who tells where the name does not say so. */
export function kernelAttributes(metric: string, attributes: OtlpAttributes): string {
  if (isConnectionMetric(metric)) {
    const direction = metric === connectionMetric.io ? seriesAttributes(onlyDirection(attributes)) : "";
    return withAttribute(direction, `peer=${peerKey(attributes) ?? "unknown"}`);
  }
  const kept = seriesAttributes(attributes, "kernel");
  return isFromKernel({ metric, attributes: "" }) ? kept : withAttribute(kept, kernelSourceAttribute);
}

/** Bounds of the agent's other times: what ends with 2, 4, 8 … ns, in seconds; the last is longer than any that is exact. */
const timeBounds: readonly number[] = Array.from({ length: 53 }).reduce<number[]>((list) => {
  list.push(list.length === 0 ? 2e-9 : (list.at(-1) as number) * 2);
  return list;
}, []);
const times: ReadonlySet<string> = new Set([processMetric.blockDuration, processMetric.syscallDuration]);

/** Whether the agent counts times in this metric, by powers of two. */
export function isKernelTime(metric: string): boolean {
  return times.has(metric);
}

/** The counts of a point over bounds that are the same for every point: the agent sends only those that it needs. */
export function kernelTimeBuckets(point: Pick<OtlpDistributionPoint, "bounds" | "counts">): { bounds: number[]; counts: number[] } {
  const counts = [...timeBounds, 0].map(() => 0);
  for (const [at, count] of point.counts.entries()) {
    const bound = point.bounds[at];
    const found = bound === undefined ? -1 : timeBounds.findIndex((known) => known >= bound * (1 - 1e-9));
    const place = found < 0 ? timeBounds.length : found;
    counts[place] = (counts[place] ?? 0) + count;
  }
  return { bounds: [...timeBounds], counts };
}

function onlyDirection(attributes: OtlpAttributes): OtlpAttributes {
  const direction = attributes.get("network.io.direction");
  return new Map(direction === undefined ? [] : [["network.io.direction", direction]]);
}

/** Adds the requests of one delta point, whose time and numbers are accepted, to the window; counts it as a reject when that cannot be. */
export function addKernelRequests(
  context: ReduceContext,
  window: () => WindowPart,
  of: { readonly metric: string; readonly point: OtlpDistributionPoint; readonly what: () => string },
): void {
  const { metric, point, what } = of;
  const counted = point.counts.reduce((sum, count) => sum + count, 0);
  const usable = point.bounds.length <= durationBoundsMax && point.bounds.every((bound) => bound > 0 && bound <= boundMax);
  if (!usable || counted !== point.count || (point.count > 0 && point.bounds.length === 0) || point.sum < 0) {
    context.reject("histogram-malformed", () => `${what()} has ${point.bounds.length} bounds that durations cannot be read from`);
    return;
  }
  const part = window();
  if (point.count > 0) context.add(part, durationOf(metric, point));
}

function durationOf(metric: string, point: OtlpDistributionPoint): Accumulator {
  const pairs = durationBuckets(point);
  const first = pairs[0]?.[0] ?? 0;
  const last = pairs.at(-1)?.[0] ?? 0;
  const isServer = servers.has(metric);
  return {
    kind: "duration",
    metric: isServer ? derivedMetric.kernelServerDuration : derivedMetric.kernelClientDuration,
    attributes: isServer ? `operation=${operationOf(metric, point.attributes)}` : `peer=${peerKey(point.attributes) ?? "unknown"}`,
    count: point.count,
    failed: (point.attributes.get("error.type") ?? "") === "" ? 0 : point.count,
    sumNs: Math.min(Math.round(point.sum * 1e9), Number.MAX_SAFE_INTEGER),
    minNs: Math.ceil(bucketLowerBound(first)),
    maxNs: Math.max(0, Math.ceil(bucketUpperBound(last)) - 1),
    buckets: new Map(pairs),
  };
}

/** As spans are named by convention: `GET /cart/{id}`, `shop.Cart/Add`, `SELECT orders`, `process mails`. */
function operationOf(metric: string, attributes: OtlpAttributes): string {
  const first = (...keys: readonly string[]): string => {
    for (const key of keys) {
      const value = attributes.get(key);
      if (value !== undefined && value !== "") return value;
    }
    return "";
  };
  const joined = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join(" ");
  const named = (): string => {
    if (metric.startsWith("http.")) return joined(first("http.request.method"), first("http.route"));
    if (metric.startsWith("rpc.")) {
      const [service, method] = [first("rpc.service"), first("rpc.method")];
      return service === "" || method.includes("/") ? method : `${service}/${method}`;
    }
    if (metric.startsWith("db.")) return first("db.query.summary") || joined(first("db.operation.name"), first("db.collection.name"));
    return joined(first("messaging.operation.name"), first("messaging.destination.name"));
  };
  return attributeText(boundedText(singleLine(named() || "(unnamed)"), operationLengthMax), operationLengthMax);
}

const stopSignals: ReadonlySet<string> = new Set(["1", "2", "15"]);
/** Nothing wrong, or the answer of a program that was asked to end. */
const orderlyCodes: ReadonlySet<string> = new Set(["0", "129", "130", "143"]);

/** Whether a process ended in order, or because somebody asked it to: a restart is no crash. */
export function endedInOrder(attributes: OtlpAttributes): boolean {
  const signal = attributes.get("process.exit.signal") ?? "0";
  if (signal !== "0" && signal !== "") return stopSignals.has(signal);
  return orderlyCodes.has(attributes.get("process.exit.code") ?? "");
}
