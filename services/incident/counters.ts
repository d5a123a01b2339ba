/** What the incident stage counts; shown under /metrics. */
import type { Metrics } from "../platform.ts";

export type IncidentCounters = ReturnType<typeof createIncidentCounters>;

export function createIncidentCounters(metrics: Metrics) {
  const named = (name: string): string => `headwater_incident_${name}_total`;
  return {
    pages: metrics.counter(named("page_decisions"), "Decisions whether to wake a person, by reason", ["reason"]),
    changes: metrics.counter(named("changes"), "Changes received: recorded, or known already", ["outcome"]),
    verdicts: metrics.counter(named("verdicts"), "Verdicts received: recorded, or of an incident nobody knows", ["outcome"]),
    duplicates: metrics.counter(named("entries_duplicate"), "Entries of the anomaly log that had been worked off before"),
    bounds: metrics.counter(named("bound_reached"), "Times that a bound was reached, by bound", ["bound"]),
    partitions: metrics.gauge("headwater_incident_partitions", "Partitions of the anomaly log that this process works on"),
    failures: metrics.counter(named("failures"), "Failed accesses to log and stores, by error code", ["code"]),
  };
}
