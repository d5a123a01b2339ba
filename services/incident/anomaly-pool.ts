/** Anomalies of the last while, so that an incident that opens finds those that began before it. */
import type { Anomaly } from "../../contract/anomaly.ts";
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import { anomaliesRememberedMax } from "./timing.ts";

export class AnomalyPool {
  #keepMs: number;
  #anomalies = new Map<string, Anomaly>();
  #onForgotten: (count: number) => void;

  /** Closed anomalies are kept for `keepMs` of event time, open ones until they close. */
  constructor(options: { keepMs: number; anomalies: readonly Anomaly[]; onForgotten: (count: number) => void }) {
    this.#keepMs = options.keepMs;
    this.#onForgotten = options.onForgotten;
    for (const anomaly of options.anomalies) this.#anomalies.set(anomaly.id, anomaly);
  }

  observe(tickMs: number, anomalies: readonly Anomaly[]): void {
    for (const anomaly of anomalies) this.#anomalies.set(anomaly.id, anomaly);
    for (const [id, anomaly] of this.#anomalies) {
      if (anomaly.state === "close" && anomaly.atMs < tickMs - this.#keepMs) this.#anomalies.delete(id);
    }
    const surplus = this.#anomalies.size - anomaliesRememberedMax;
    if (surplus <= 0) return;
    const oldest = [...this.#anomalies.values()].sort((left, right) => left.atMs - right.atMs || compareCodeUnits(left.id, right.id));
    for (const anomaly of oldest.slice(0, surplus)) this.#anomalies.delete(anomaly.id);
    this.#onForgotten(surplus);
  }

  /** All that are remembered, sorted by id. */
  all(): Anomaly[] {
    return sortedBy(this.#anomalies.values(), (anomaly) => anomaly.id);
  }
}
