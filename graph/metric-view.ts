/** Every series' deviation, once, grouped by the folded entity or dependency it belongs to. */
import type { EvidenceSnapshot, SnapshotSeries } from "../contract/evidence.ts";
import { restsAtZero } from "../contract/kernel-telemetry.ts";
import type { MetricKind } from "../contract/series.ts";
import { type Deviation, deviationOf, type Split, splitOf } from "./deviation.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { saturate } from "./robust-statistics.ts";
import { peerKey, peerLevel, scaleFloor, typicalValue } from "./scale-floor.ts";

export interface Measured {
  readonly series: SnapshotSeries;
  /** `stand-in`: measured at an alias of the owner. */
  readonly measuredAt: "owner" | "stand-in";
  readonly deviation: Deviation;
}

export interface MetricView {
  readonly split: Split;
  /** By folded entity id. */
  readonly entities: ReadonlyMap<string, readonly Measured[]>;
  /** By edge id. */
  readonly edges: ReadonlyMap<string, readonly Measured[]>;
  /** Entities with at least one internal series. */
  readonly reporting: ReadonlySet<string>;
}

/** Kinds that rest at zero: a series of them that first appears in the fault began from nothing. */
const zeroAtRest: ReadonlySet<MetricKind> = new Set(["errors", "log", "saturation"]);

/** Distances below this many scales are no evidence. */
const quiet = 3;
/** Beyond `quiet`, this many scales more are half of full strength. */
const halfStrength = 30;

/** 0..1 from a signed distance: how strongly a series deviates. */
export function strengthOf(z: number): number {
  return saturate(Math.abs(z) - quiet, halfStrength);
}

/** 0..1: whether a series deviates at all; nearly 1 well above `quiet`. */
export function gateOf(z: number): number {
  return saturate(Math.abs(z) - quiet, 2);
}

/** Measures all series of a snapshot. */
export function metricViewOf(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): MetricView {
  const split = splitOf(snapshot.normal, snapshot.fault);
  const typical = new Map<string, number[]>();
  for (const series of snapshot.series) {
    const list = typical.get(peerKey(series));
    if (list === undefined) typical.set(peerKey(series), [typicalValue(series)]);
    else list.push(typicalValue(series));
  }
  const rates = requestRates(snapshot.series);
  const levels = new Map([...typical].map(([key, values]) => [key, peerLevel(values)]));
  const entities = new Map<string, Measured[]>();
  const edges = new Map<string, Measured[]>();
  const reporting = new Set<string>();
  for (const series of snapshot.series) {
    const edge = neighbourhood.edgeOf(series.entity);
    const owner = edge === null ? neighbourhood.fold(series.entity) : edge.id;
    if (edge === null && series.scope === "internal" && series.kind !== "log") reporting.add(owner);
    const deviation = deviationOf(series, split, {
      floorOf: (location) =>
        scaleFloor(series, {
          location,
          peerLevel: levels.get(peerKey(series)) ?? 0,
          windowMs: snapshot.windowMs,
          requestsPerSecond: rates.get(rateKey(series)) ?? rates.get(series.entity) ?? null,
        }),
      zeroAtRest: zeroAtRest.has(series.kind) || restsAtZero(series.metric) ? "yes" : "no",
    });
    if (deviation === null) continue;
    const map = edge === null ? entities : edges;
    const list = map.get(owner);
    const measured: Measured = { series, measuredAt: edge !== null || series.entity === owner ? "owner" : "stand-in", deviation };
    if (list === undefined) map.set(owner, [measured]);
    else list.push(measured);
  }
  return { split, entities, edges, reporting };
}

function rateKey(series: SnapshotSeries): string {
  return JSON.stringify([series.entity, series.metric, series.attributes]);
}

/** Usual requests per second, by series name and by entity: what ratios of errors rest on. */
function requestRates(all: readonly SnapshotSeries[]): Map<string, number> {
  const rates = new Map<string, number>();
  for (const series of all) {
    if (series.kind !== "traffic" || series.statistic !== "rate") continue;
    const typical = typicalValue(series);
    rates.set(rateKey(series), typical);
    if (series.attributes === "") rates.set(series.entity, Math.max(rates.get(series.entity) ?? 0, typical));
  }
  return rates;
}

/** What was measured at the entity itself where there is any; what stand-ins saw of it otherwise. */
export function firstHand(all: readonly Measured[]): readonly Measured[] {
  const own = all.filter((item) => item.measuredAt === "owner");
  return own.length > 0 ? own : all;
}

/** Whether more of an entity's requests fail than did, by its own error series. */
export function failsMore(view: MetricView, entity: string): boolean {
  const all = view.entities.get(entity) ?? [];
  return all.some(({ series, deviation }) => series.kind === "errors" && gateOf(deviation.z) > 0.5 && deviation.z > 0);
}
