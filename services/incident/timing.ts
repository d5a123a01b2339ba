/** Every duration of design §8 that the incident stage uses, divided by `timeScale`; and its bounds. */

/** An objective burns when both its long and its short window burn the budget `factor` times as fast as the target allows. */
interface BurnPair {
  readonly factor: number;
  readonly longMs: number;
  readonly shortMs: number;
}

export interface Timing {
  readonly windowMs: number;
  /** Fast first; the first pair's short window is the one that impact and recovery are read from. */
  readonly pairs: readonly [BurnPair, BurnPair];
  /** How long all objectives must have been met before an incident resolves itself. */
  readonly recoverMs: number;
  /** No request at all for this long counts as recovered: nobody is hurt. */
  readonly silentMs: number;
  /** The same entity burning again this soon after its incident was resolved reopens it. */
  readonly coolDownMs: number;
  /** An alert joins an incident whose last alert began at most this long ago. */
  readonly joinMs: number;
  /** A window is learned from only after this long without an alert, so that the start of a fault is not taken for normal. */
  readonly learnDelayMs: number;
  /** An anomaly may have begun this long before the incident's onset and still belong to it. */
  readonly anomalyLeadMs: number;
  /** A severe anomaly below a burning service moves the onset back by at most this much. */
  readonly onsetLeadMs: number;
  /** How far behind detection the dependency graph may be: topology waits for both halves of a call. */
  readonly graphLagMs: number;
}

const minute = 60_000;
const hour = 60 * minute;

export function timingOf(options: { windowMs: number; timeScale: number }): Timing {
  const { windowMs, timeScale } = options;
  const scaled = (durationMs: number): number => Math.max(windowMs, Math.round(durationMs / timeScale));
  return {
    windowMs,
    pairs: [
      { factor: 14.4, longMs: scaled(hour), shortMs: scaled(5 * minute) },
      { factor: 6, longMs: scaled(6 * hour), shortMs: scaled(30 * minute) },
    ],
    recoverMs: Math.max(5 * windowMs, scaled(5 * minute)),
    silentMs: Math.max(5 * windowMs, scaled(30 * minute)),
    coolDownMs: scaled(5 * minute),
    joinMs: scaled(hour),
    learnDelayMs: Math.max(3 * windowMs, scaled(5 * minute)),
    anomalyLeadMs: Math.max(minute, 30 * windowMs),
    onsetLeadMs: 10 * windowMs,
    graphLagMs: Math.max(10_000, windowMs),
  };
}

/** Event time an entity must have been seen for before any of its objectives may burn. Not scaled: it is about having seen enough. */
export const youngMs = 20_000;
/** Requests that must have been learned from before latency may burn. */
export const learnedRequestsMin = 100;
/** Event time over which the p95 is learned, in `learnedSlotsMax` slots; not scaled. */
export const learnedMs = 30 * minute;
export const learnedSlotsMax = 10;
/** Bad requests in the short window below which nothing burns: single failures at low traffic wake nobody. */
export const badRequestsMin = 5;
/** A request is never slow while it takes less than this more than the learned p95: below it, it is noise of the machine. */
export const slowFloorNs = 10_000_000;
/** Share of bad requests below which a stretch is not bad, whatever is usual. */
export const badRatioFloor = 0.02;
/** Entities whose requests are remembered; beyond it the one unseen for longest is forgotten, counted. */
export const entitiesMax = 500;
/** Anomalies remembered outside of incidents; beyond it the oldest is forgotten, counted. */
export const anomaliesRememberedMax = 5_000;
/** Anomalies that join one incident; further ones are counted. */
export const anomaliesMax = 200;
/** Incidents that are open or in their cool-down at the same time; further alerts join the newest one, counted. */
export const incidentsOpenMax = 100;
/** Hops of the undirected graph within which two alerts belong together. Two services that share a callee are two hops apart. */
export const alertHopsMax = 4;
/** Hops along calls within which an anomaly belongs to a burning service. */
export const anomalyHopsMax = 6;
/** −log10 of how improbable an anomaly must be to move an onset. */
export const onsetSeverityMin = 6;
