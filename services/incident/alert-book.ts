/** The objectives of every entity seen, and which of them are alerts now: an alert starts when it burns and ends when it has recovered. */
import type { RequestWindow } from "../../contract/anomaly.ts";
import { contentHash, sortedBy } from "../../contract/canonical.ts";
import type { ObjectiveName } from "./history.ts";
import { type Badness, type Burn, type ObjectiveOptions, Objectives, type ObjectivesJson, objectiveNames } from "./objective.ts";
import { entitiesMax, type Timing } from "./timing.ts";

/** An objective of an entity that burns and is not an alert yet. */
export interface Burning extends Burn {
  readonly entity: string;
}

export interface ActiveAlert {
  readonly id: string;
  readonly entity: string;
  readonly objective: ObjectiveName;
  /** Since when it has been met again; null while it is not. */
  goodSinceMs: number | null;
  /** Since when there have been no requests at all. */
  silentSinceMs: number | null;
}

/** The checkpoint's form. */
export interface AlertBookJson {
  readonly objectives: { readonly entity: string; readonly objectives: ObjectivesJson }[];
  readonly active: ActiveAlert[];
}

export class AlertBook {
  #options: ObjectiveOptions;
  #timing: Timing;
  #objectives = new Map<string, Objectives>();
  #active = new Map<string, ActiveAlert>();
  #onForgotten: (count: number) => void;

  constructor(options: { objective: ObjectiveOptions; timing: Timing; json: AlertBookJson | null; onForgotten: (count: number) => void }) {
    this.#options = options.objective;
    this.#timing = options.timing;
    this.#onForgotten = options.onForgotten;
    for (const { entity, objectives } of options.json?.objectives ?? []) {
      this.#objectives.set(entity, new Objectives(this.#options, this.#timing, objectives));
    }
    for (const alert of options.json?.active ?? []) this.#active.set(keyOf(alert.entity, alert.objective), { ...alert });
  }

  /** Takes in what was served in a tick. Entities that an incident concerns are not learned from. */
  observe(requests: readonly RequestWindow[], options: { concerned: ReadonlySet<string> }): void {
    for (const window of requests) {
      const learn = options.concerned.has(window.entity) || this.#alerting(window.entity) ? "no" : "yes";
      this.#of(window.entity).observe(window, { learn });
    }
    if (this.#objectives.size > entitiesMax) this.#forgetOldest();
  }

  /** What burns at the end of the tick and is no alert yet, sorted by entity and objective. */
  burning(tickMs: number): Burning[] {
    const found: Burning[] = [];
    for (const [entity, objectives] of sortedBy(this.#objectives, ([entity]) => entity)) {
      for (const objective of objectiveNames) {
        if (this.#active.has(keyOf(entity, objective))) continue;
        const burn = objectives.burn(objective, tickMs);
        if (burn === null) continue;
        objectives.doubt();
        found.push({ ...burn, entity });
      }
    }
    return found;
  }

  /** Makes a burning objective an alert. The id is a hash of what burns and since when. */
  start(burning: Burning): ActiveAlert {
    const { entity, objective, onsetMs } = burning;
    const id = contentHash(["alert", entity, objective, onsetMs]);
    const alert: ActiveAlert = { id, entity, objective, goodSinceMs: null, silentSinceMs: null };
    this.#active.set(keyOf(entity, objective), alert);
    return alert;
  }

  /** The alert of an objective, or null while there is none. */
  active(entity: string, objective: string): ActiveAlert | null {
    return this.#active.get(keyOf(entity, objective)) ?? null;
  }

  /** Ends the alerts that have been good, or silent, for long enough; answers them, sorted. */
  endRecovered(tickMs: number): ActiveAlert[] {
    const ended: ActiveAlert[] = [];
    for (const [key, alert] of sortedBy(this.#active, ([key]) => key)) {
      const health = this.#of(alert.entity).health(alert.objective, tickMs);
      alert.silentSinceMs = health === "silent" ? (alert.silentSinceMs ?? tickMs) : null;
      if (health === "bad") alert.goodSinceMs = null;
      if (health === "good") alert.goodSinceMs ??= tickMs;
      const good = health === "good" && alert.goodSinceMs !== null && tickMs - alert.goodSinceMs >= this.#timing.recoverMs;
      const silent = alert.silentSinceMs !== null && tickMs - alert.silentSinceMs >= this.#timing.silentMs;
      if (!good && !silent) continue;
      this.#of(alert.entity).recovered(alert.objective, alert.goodSinceMs ?? tickMs);
      this.#active.delete(key);
      ended.push(alert);
    }
    return ended;
  }

  badness(entity: string, objective: ObjectiveName, tickMs: number): Badness {
    return this.#objectives.get(entity)?.badness(objective, tickMs) ?? { badRatio: 0, requests: 0, requestsPerSecond: 0 };
  }

  /** Share of all requests to `entries` that this entity receives, 0..1. */
  trafficShare(entity: string, entries: ReadonlySet<string>, tickMs: number): number {
    let all = 0;
    for (const entry of new Set([...entries, entity])) all += this.badness(entry, "availability", tickMs).requests;
    return all === 0 ? 1 : this.badness(entity, "availability", tickMs).requests / all;
  }

  toJson(): AlertBookJson {
    return {
      objectives: [...this.#objectives].map(([entity, objectives]) => ({ entity, objectives: objectives.toJson() })),
      active: [...this.#active.values()],
    };
  }

  #alerting(entity: string): boolean {
    return objectiveNames.some((objective) => this.#active.has(keyOf(entity, objective)));
  }

  #of(entity: string): Objectives {
    const found = this.#objectives.get(entity);
    if (found !== undefined) return found;
    const created = new Objectives(this.#options, this.#timing);
    this.#objectives.set(entity, created);
    return created;
  }

  #forgetOldest(): void {
    const idle = [...this.#objectives].filter(([entity]) => !this.#alerting(entity));
    const byAge = sortedBy(idle, ([entity]) => entity).sort(([, left], [, right]) => (left.lastStartMs ?? 0) - (right.lastStartMs ?? 0));
    const surplus = byAge.slice(0, this.#objectives.size - entitiesMax);
    for (const [entity] of surplus) this.#objectives.delete(entity);
    this.#onForgotten(surplus.length);
  }
}

function keyOf(entity: string, objective: string): string {
  return `${objective} ${entity}`;
}
