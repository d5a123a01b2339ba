/**
 * What the incident stage decides, tick by tick of event time: pure state and effects, no queue, no store, no clock.
 * The same ticks and views give the same effects, whoever asks and however often (design §4, Determinism).
 */
import type { Alert } from "../../contract/alert.ts";
import type { Anomaly } from "../../contract/anomaly.ts";
import { contentHash, sortedBy } from "../../contract/canonical.ts";
import type { Impact, Incident, IncidentEvent } from "../../contract/incident.ts";
import { impactSentence } from "../../contract/incident-fold.ts";
import { type ActiveAlert, AlertBook, type AlertBookJson, type Burning } from "./alert-book.ts";
import { AnomalyPool } from "./anomaly-pool.ts";
import { decidePage, type PageOccasion } from "./decide.ts";
import { concernedEntities, dueRequest, type Effect, type IncidentWork, nextRequest, workOf, worsen } from "./incident-work.ts";
import type { ObjectiveOptions } from "./objective.ts";
import type { Reach } from "./reach.ts";
import { severityOf, worseSeverity } from "./severity.ts";
import type { Tick } from "./tick-buffer.ts";
import { anomaliesMax, incidentsOpenMax, onsetSeverityMin, type Timing } from "./timing.ts";

/** What happened at a bound. */
export type CoreCounter = "entities_forgotten" | "anomalies_forgotten" | "anomalies_not_joined" | "incidents_not_opened";

export interface CoreJson {
  readonly book: AlertBookJson;
  readonly anomalies: Anomaly[];
  readonly works: IncidentWork[];
  readonly entries: string[];
}

interface NewAlert {
  readonly alert: Alert;
  readonly impact: Impact;
  readonly source: "own" | "other";
  readonly onsetMs: number;
}

export class IncidentCore {
  #timing: Timing;
  #onCounted: (name: CoreCounter, amount: number) => void;
  #book: AlertBook;
  #pool: AnomalyPool;
  #works: Map<string, IncidentWork>;
  #entries: ReadonlySet<string>;
  #burning: readonly Burning[] = [];
  #anomalies: readonly Anomaly[] = [];

  constructor(options: {
    timing: Timing;
    objective: ObjectiveOptions;
    json: CoreJson | null;
    onCounted: (name: CoreCounter, amount: number) => void;
  }) {
    const { timing, objective, json, onCounted } = options;
    this.#timing = timing;
    this.#onCounted = onCounted;
    const onForgotten = (count: number): void => onCounted("entities_forgotten", count);
    this.#book = new AlertBook({ objective, timing, json: json?.book ?? null, onForgotten });
    this.#pool = new AnomalyPool({
      keepMs: timing.anomalyLeadMs,
      anomalies: json?.anomalies ?? [],
      onForgotten: (count) => onCounted("anomalies_forgotten", count),
    });
    this.#works = new Map((json?.works ?? []).map((work) => [work.id, work]));
    this.#entries = new Set(json?.entries ?? []);
  }

  /** Whether ticks in which nothing happened matter: something is open, or cooling down. */
  get everyTick(): "yes" | "no" {
    return this.#works.size > 0 ? "yes" : "no";
  }

  /** Whether an incident is known here, open or cooling down. */
  knows(incident: string): boolean {
    return this.#works.has(incident);
  }

  /** Ids of those that are open as far as is known here, in the order in which they opened. */
  get openIncidents(): readonly string[] {
    return this.#open().map((work) => work.id);
  }

  /** First half of a tick: takes in what was found. Answers whether `decide` needs the graph. */
  observe(tick: Tick): { needsGraph: "yes" | "no" } {
    const concerned = new Set(this.#open().flatMap(concernedEntities));
    this.#book.observe(tick.requests, { concerned });
    this.#pool.observe(tick.tickMs, tick.anomalies);
    this.#burning = this.#book.burning(tick.tickMs);
    this.#anomalies = tick.anomalies;
    const news = this.#anomalies.length > 0 && this.#open().length > 0;
    return { needsGraph: this.#burning.length > 0 || news ? "yes" : "no" };
  }

  /** Second half of a tick. `reach` is null when `observe` did not need it. */
  decide(tickMs: number, reach: Reach | null): Effect[] {
    const effects: Effect[] = [];
    if (reach !== null) {
      this.#entries = reach.entries;
      effects.push(...this.#startAlerts(tickMs, reach), ...this.#joinAnomalies(tickMs, reach));
    }
    effects.push(...this.#changeImpacts(tickMs), ...this.#endAlerts(tickMs), ...this.#reopenBurning(tickMs));
    for (const work of this.#open()) {
      const request = dueRequest(work, tickMs);
      if (request !== null) effects.push({ type: "ask", request });
    }
    this.#letGo(tickMs);
    return effects;
  }

  /** An alert that another system declared, or says is over. */
  declared(alert: Alert, at: { tickMs: number; reach: Reach }): Effect[] {
    const owner = [...this.#works.values()].find((work) => work.alerts.some(({ id }) => id === alert.id));
    if (owner !== undefined) return alert.endsAtMs === null ? [] : this.#endDeclared(owner, alert, at.tickMs);
    if (alert.endsAtMs !== null) return [];
    const { badRatio, requestsPerSecond } = this.#book.badness(alert.entity, "availability", at.tickMs);
    const impact: Impact = { entity: alert.entity, objective: "availability", badRatio, requestsPerSecond };
    return this.#place({ alert, impact, source: "other", onsetMs: Math.min(alert.startsAtMs, at.tickMs) }, at);
  }

  /** A person has resolved it: asks for the closing verdict. */
  personResolved(incident: string, atMs: number): Effect[] {
    const work = this.#works.get(incident);
    if (work === undefined || work.resolvedMs !== null) return [];
    work.resolvedMs = atMs;
    work.resolvedBy = "person";
    return [{ type: "ask", request: nextRequest(work, { reason: "close", askedForMs: Math.max(atMs, work.onsetMs) }) }];
  }

  /** Takes over an incident that is open in the event store and unknown here. */
  adopt(incident: Incident): void {
    if (this.#works.has(incident.id)) return;
    const work = workOf(incident);
    this.#works.set(incident.id, work);
    for (const { entity, objective, source, startsAtMs: onsetMs, active } of work.alerts) {
      if (source !== "own" || !active || (objective !== "availability" && objective !== "latency")) continue;
      if (this.#book.active(entity, objective) === null) this.#book.start({ entity, objective, onsetMs, factor: 0 });
    }
  }

  toJson(): CoreJson {
    return { book: this.#book.toJson(), anomalies: this.#pool.all(), works: [...this.#works.values()], entries: [...this.#entries] };
  }

  #open(): IncidentWork[] {
    const open = [...this.#works.values()].filter((work) => work.resolvedMs === null);
    return sortedBy(open, (work) => work.id).sort((left, right) => left.openedMs - right.openedMs);
  }

  #startAlerts(tickMs: number, reach: Reach): Effect[] {
    const entries = this.#burning.filter(({ entity }) => reach.entries.has(entity));
    const inOrder = [...entries].sort((left, right) => left.onsetMs - right.onsetMs);
    return inOrder.flatMap((burning) => {
      const { id, entity, objective } = this.#book.start(burning);
      const { badRatio, requestsPerSecond } = this.#book.badness(entity, objective, tickMs);
      const impact: Impact = { entity, objective, badRatio, requestsPerSecond };
      const summary = `${impactSentence(impact)}, using up its error budget more than ${burning.factor} times too fast`;
      const alert: Alert = { id, entity, objective, startsAtMs: burning.onsetMs, endsAtMs: null, summary: summary.slice(0, 1_000) };
      return this.#place({ alert, impact, source: "own", onsetMs: this.#earlierOnset(burning, reach) }, { tickMs, reach });
    });
  }

  /** A severe anomaly below the burning service that began shortly before, and still lasts, is where it began. */
  #earlierOnset(burning: Burning, reach: Reach): number {
    const below = reach.downstream([burning.entity]);
    let onsetMs = burning.onsetMs;
    for (const anomaly of this.#pool.all()) {
      const recent = anomaly.onsetMs < onsetMs && anomaly.onsetMs >= burning.onsetMs - this.#timing.onsetLeadMs;
      if (!recent || anomaly.state === "close" || anomaly.severity < onsetSeverityMin) continue;
      if (reach.ends(anomaly.series.entity).some((end) => below.has(end))) onsetMs = anomaly.onsetMs;
    }
    return onsetMs;
  }

  /** Joins an incident, reopens one, or opens one. */
  #place(started: NewAlert, at: { tickMs: number; reach: Reach }): Effect[] {
    const open = this.#open();
    const { entity } = started.alert;
    const near = open.find(
      (work) =>
        concernedEntities(work).includes(entity) ||
        (at.tickMs - work.lastAlertMs <= this.#timing.joinMs && concernedEntities(work).some((other) => at.reach.connected(other, entity))),
    );
    if (near !== undefined) return this.#join(near, started, at.tickMs);
    const cooling = [...this.#works.values()].find((work) => work.resolvedMs !== null && concernedEntities(work).includes(entity));
    if (cooling !== undefined) {
      const again = this.#reopen(cooling, { tickMs: at.tickMs, reason: `${entity} has the same trouble again`, onsetMs: started.onsetMs });
      return [...again, ...this.#join(cooling, started, at.tickMs)];
    }
    const newest = open.at(-1);
    if (open.length >= incidentsOpenMax && newest !== undefined) {
      this.#onCounted("incidents_not_opened", 1);
      return this.#join(newest, started, at.tickMs);
    }
    return this.#openNew(started, at);
  }

  #openNew({ alert, impact, source, onsetMs }: NewAlert, at: { tickMs: number; reach: Reach }): Effect[] {
    const { tickMs } = at;
    const id = contentHash(["incident", alert.entity, alert.objective, onsetMs]);
    const severity = this.#severity(impact, source, tickMs);
    const work: IncidentWork = {
      id,
      onsetMs,
      openedMs: tickMs,
      lastAlertMs: tickMs,
      severity,
      alerts: [{ id: alert.id, entity: alert.entity, objective: alert.objective, startsAtMs: alert.startsAtMs, source, active: true }],
      impacts: [impact],
      joined: [],
      askOnsetMs: onsetMs,
      askFromMs: tickMs,
      asked: [],
      version: 0,
      resolvedMs: null,
      resolvedBy: null,
    };
    this.#works.set(id, work);
    const opened = { type: "opened" as const, atMs: tickMs, actor: null, onsetMs, severity, alert, impact };
    return [{ type: "open", incident: id, opened }, pageOf(id, "incident-opened")];
  }

  #join(work: IncidentWork, { alert, impact, source }: NewAlert, tickMs: number): Effect[] {
    const { id, entity, objective, startsAtMs } = alert;
    work.alerts.push({ id, entity, objective, startsAtMs, source, active: true });
    work.lastAlertMs = tickMs;
    const events: IncidentEvent[] = [{ type: "alert-joined", atMs: tickMs, actor: null, alert, impact }];
    const before = work.severity;
    worsen(work, { impact, severity: this.#severity(impact, source, tickMs) });
    if (work.severity !== before) events.push({ type: "impact-changed", atMs: tickMs, actor: null, severity: work.severity, impact });
    return [{ type: "append", incident: work.id, events }, pageOf(work.id, "alert-joined")];
  }

  #reopen(work: IncidentWork, at: { tickMs: number; reason: string; onsetMs: number }): Effect[] {
    work.resolvedMs = null;
    work.resolvedBy = null;
    work.asked = [];
    work.askOnsetMs = at.onsetMs;
    work.askFromMs = at.tickMs;
    const event: IncidentEvent = { type: "reopened", atMs: at.tickMs, actor: null, reason: at.reason.slice(0, 200) };
    return [{ type: "append", incident: work.id, events: [event] }, pageOf(work.id, "incident-reopened")];
  }

  #joinAnomalies(tickMs: number, reach: Reach): Effect[] {
    return this.#open().flatMap((work): Effect[] => {
      const below = reach.downstream(concernedEntities(work));
      const known = new Map(work.joined.map((entry) => [entry.id, entry]));
      // Right after an opening the remembered ones are candidates too, later only this tick's.
      const candidates = work.lastAlertMs === tickMs ? this.#pool.all() : this.#anomalies;
      const news = candidates.filter((anomaly) => {
        const entry = known.get(anomaly.id);
        if (entry !== undefined) return anomaly.state === "close" && entry.state === "open";
        const recent = anomaly.onsetMs >= work.onsetMs - this.#timing.anomalyLeadMs;
        return recent && reach.ends(anomaly.series.entity).some((end) => below.has(end));
      });
      const worstFirst = [...news].sort((left, right) => right.severity - left.severity);
      const room = anomaliesMax - work.joined.length;
      const ends = worstFirst.filter((anomaly) => known.has(anomaly.id));
      const begins = worstFirst.filter((anomaly) => !known.has(anomaly.id));
      const joining = [...ends, ...begins.slice(0, room)];
      if (begins.length > room) this.#onCounted("anomalies_not_joined", begins.length - room);
      if (joining.length === 0) return [];
      for (const anomaly of joining) {
        const state = anomaly.state === "close" ? "close" : "open";
        const entry = known.get(anomaly.id);
        if (entry === undefined) work.joined.push({ id: anomaly.id, state });
        else entry.state = state;
      }
      const anomalies = sortedBy(joining, (anomaly) => anomaly.id);
      return [{ type: "append", incident: work.id, events: [{ type: "anomalies-joined", atMs: tickMs, actor: null, anomalies }] }];
    });
  }

  #changeImpacts(tickMs: number): Effect[] {
    const effects: Effect[] = [];
    for (const work of this.#open()) {
      for (const alert of work.alerts) {
        const active = alert.active && alert.source === "own" ? this.#book.active(alert.entity, alert.objective) : null;
        if (active === null) continue;
        const { badRatio, requestsPerSecond } = this.#book.badness(active.entity, active.objective, tickMs);
        const impact: Impact = { entity: active.entity, objective: active.objective, badRatio, requestsPerSecond };
        if (!worsen(work, { impact, severity: this.#severity(impact, "own", tickMs) })) continue;
        const event: IncidentEvent = { type: "impact-changed", atMs: tickMs, actor: null, severity: work.severity, impact };
        effects.push({ type: "append", incident: work.id, events: [event] });
      }
    }
    return effects;
  }

  #endAlerts(tickMs: number): Effect[] {
    for (const ended of this.#book.endRecovered(tickMs)) this.#markEnded(ended);
    return this.#open().flatMap((work): Effect[] => {
      if (work.alerts.some((alert) => alert.active)) return [];
      work.resolvedMs = tickMs;
      work.resolvedBy = "recovery";
      const base = { atMs: tickMs, actor: null };
      const events: IncidentEvent[] = [
        { type: "recovered", ...base },
        { type: "resolved", ...base, by: "recovery", note: null },
      ];
      const request = nextRequest(work, { reason: "close", askedForMs: tickMs });
      return [
        { type: "append", incident: work.id, events },
        { type: "ask", request },
      ];
    });
  }

  #markEnded(ended: ActiveAlert): void {
    for (const work of this.#works.values()) {
      for (const alert of work.alerts) {
        if (alert.source === "own" && alert.entity === ended.entity && alert.objective === ended.objective) alert.active = false;
      }
    }
  }

  #endDeclared(work: IncidentWork, alert: Alert, tickMs: number): Effect[] {
    const known = work.alerts.find(({ id, active }) => id === alert.id && active);
    if (known === undefined) return [];
    known.active = false;
    const impact = work.impacts.find(({ entity }) => entity === alert.entity);
    if (impact === undefined) return [];
    return [{ type: "append", incident: work.id, events: [{ type: "alert-joined", atMs: tickMs, actor: null, alert, impact }] }];
  }

  /** A person resolved it, and it burns on: louder, not quieter. */
  #reopenBurning(tickMs: number): Effect[] {
    return sortedBy(this.#works.values(), (work) => work.id).flatMap((work): Effect[] => {
      if (work.resolvedMs === null || work.resolvedBy !== "person" || !work.alerts.some((alert) => alert.active)) return [];
      const afterMs = tickMs - work.resolvedMs;
      if (afterMs < this.#timing.coolDownMs) return [];
      return this.#reopen(work, {
        tickMs,
        reason: `still burning ${Math.round(afterMs / 1_000)} s after it was resolved`,
        onsetMs: work.askOnsetMs,
      });
    });
  }

  #letGo(tickMs: number): void {
    for (const [id, work] of this.#works) {
      if (work.resolvedMs === null || work.alerts.some((alert) => alert.active)) continue;
      if (tickMs - work.resolvedMs > this.#timing.coolDownMs) this.#works.delete(id);
    }
  }

  #severity(impact: Impact, source: "own" | "other", tickMs: number): ReturnType<typeof severityOf> {
    const trafficShare = this.#book.trafficShare(impact.entity, this.#entries, tickMs);
    const severity = severityOf({ badRatio: impact.badRatio, trafficShare });
    return source === "own" ? severity : worseSeverity(severity, "P2");
  }
}

function pageOf(incident: string, occasion: PageOccasion): Effect {
  return { type: "page", incident, occasion, decision: decidePage(occasion) };
}
