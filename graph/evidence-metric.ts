/** Evidence from series that speak for their entity alone: internal quantities, and load that no caller explains. */
import { processMetric } from "../contract/kernel-telemetry.ts";
import type { MetricKind } from "../contract/series.ts";
import type { FaultKind } from "../contract/verdict.ts";
import type { Contribution } from "./contribution.ts";
import { firstHand, gateOf, type Measured, type MetricView, strengthOf } from "./metric-view.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { seriesText, valueText } from "./wording.ts";

const kindOfInternal: Readonly<Partial<Record<MetricKind, FaultKind>>> = {
  cpu: "cpu",
  memory: "memory",
  disk: "disk",
  network: "network",
  saturation: "datastore",
};

/** Falling internal quantities mostly say that there is less to do. */
const fallingShare = 0.25;
/** The second and later internal series of one entity add this much of their strength. */
const furtherShare = 0.3;

/** Internal series, strongest first; later ones of the same entity count less, so that many series are no advantage. */
export function internalContributions(view: MetricView): Contribution[] {
  return [...view.entities].flatMap(([entity, all]) => {
    const items = all
      .filter(({ series }) => isInternal(series))
      .map((measured) => ({ measured, strength: internalStrength(measured, trafficGrowth(all)) }))
      .filter((item) => item.strength > 0)
      .sort((left, right) => right.strength - left.strength);
    return items.map(({ measured, strength }, index): Contribution => {
      const { series, deviation } = measured;
      const verb = deviation.z >= 0 ? "rose" : "fell";
      return {
        type: "entity",
        id: entity,
        channel: series.kind === "saturation" ? "saturation" : "internal",
        amount: index === 0 ? strength : (strength * furtherShare) / index,
        text: `${seriesText(series)} ${verb} from ${valueText(series, deviation.before)} to ${valueText(series, deviation.after)}`,
        evidence: [series.id],
        onsetMs: deviation.onsetMs,
        kind: kindOfInternal[series.kind] ?? null,
      };
    });
  });
}

/** Log volume follows traffic, whatever its scope is called; it is judged per request elsewhere. */
function isInternal(series: Measured["series"]): boolean {
  // Waiting for a processor speaks of whoever takes it: see evidence-kernel.ts.
  if (series.metric === processMetric.runQueueWait) return false;
  return series.scope === "internal" && series.kind !== "other" && series.kind !== "log";
}

/** What more traffic alone explains is not the entity's own. */
export function internalStrength({ deviation }: Measured, growth: number): number {
  const strength = strengthOf(deviation.z);
  if (deviation.z < 0) return strength * fallingShare;
  if (growth <= 1 || deviation.before <= 0) return strength;
  return strengthOf(Math.max(0, (deviation.after - deviation.before * growth) / deviation.scale));
}

/** By how much an entity's own traffic grew, at least 1. */
export function trafficGrowth(all: readonly Measured[]): number {
  const ratios = firstHand(all.filter(({ series }) => series.kind === "traffic" && series.attributes === ""))
    .filter(({ deviation }) => deviation.before > 0 && deviation.z > 0)
    .map(({ deviation }) => deviation.after / deviation.before);
  return Math.max(1, ...ratios);
}

/** How much of an entity's queues, pools and workers is used up, 0..1. */
export function saturationOf(view: MetricView, entity: string): number {
  const all = view.entities.get(entity) ?? [];
  const strengths = all
    .filter(({ series, deviation }) => series.kind === "saturation" && series.scope === "internal" && deviation.z > 0)
    .map(({ deviation }) => gateOf(deviation.z));
  return Math.max(0, ...strengths);
}

/** A load that grew although no caller's did: the world sends more. */
export function loadContributions(view: MetricView, neighbourhood: Neighbourhood): Contribution[] {
  return [...view.entities].flatMap(([entity, all]) => {
    const growth = trafficGrowth(all.filter(({ deviation }) => gateOf(deviation.z) > 0.5));
    const callers = neighbourhood.callers(entity).map((caller) => trafficGrowth(view.entities.get(caller) ?? []));
    const unexplained = growth / Math.max(1, ...callers) - 1.5;
    const series = firstHand(all.filter(({ series: one }) => one.kind === "traffic" && one.attributes === "")).filter(
      ({ deviation }) => deviation.z > 0,
    );
    if (!(unexplained > 0) || series.length === 0) return [];
    return series.slice(0, 1).map(
      ({ series: one, deviation }): Contribution => ({
        type: "entity",
        id: entity,
        channel: "load",
        amount: unexplained / (unexplained + 1),
        text: `${seriesText(one)} rose from ${valueText(one, deviation.before)} to ${valueText(one, deviation.after)}, without more from its callers`,
        evidence: [one.id],
        onsetMs: deviation.onsetMs,
        kind: "load",
      }),
    );
  });
}
