/**
 * The folded incidents, kept fresh by the event store's subscription, so that lists do not read the store.
 * Summaries of all incidents stay in memory up to a bound; the events behind them only of those used last.
 */
import { incidentOfStream, incidentPrefix, incidentStream } from "../../contract/event-stream.ts";
import { type Incident, IncidentEvent } from "../../contract/incident.ts";
import { foldIncident, incidentSentence } from "../../contract/incident-fold.ts";
import type { EventStore, StoredEvent } from "../../contract/port.ts";
import type { IncidentSummary } from "../../contract/route.ts";
import { readStream } from "./read-stream.ts";

/** Incidents listed; beyond it the oldest leave the list (they can still be opened by their id). */
const incidentsMaxDefault = 10_000;
/** Incidents whose events stay in memory. */
const incidentsFoldedMaxDefault = 200;

/** One incident in the list. `entities` are those it names as hurt, anomalous or ranked with a role. */
export interface IndexedIncident {
  readonly summary: IncidentSummary;
  readonly entities: ReadonlySet<string>;
}

interface Tracked {
  /** Sequence of the newest event seen, in the store's counting. */
  sequence: number;
  /** Null when they were let go; they are read again when the incident is asked for. */
  events: IncidentEvent[] | null;
  /** The fold of `events`, or null while it is out of date. */
  incident: Incident | null;
  indexed: IndexedIncident | null;
}

export interface IncidentIndex {
  start(): Promise<void>;
  /** The incident with everything that is in the store now, or null. Its `sequence` is the store's. */
  load(id: string): Promise<Incident | null>;
  /** All events of it, in order; null when there is no such incident. */
  events(id: string): Promise<readonly IncidentEvent[] | null>;
  /** Newest first, by number. */
  list(): IndexedIncident[];
  /** Takes in everything that is in the store now. */
  refresh(): Promise<void>;
  stop(): Promise<void>;
}

export interface IncidentIndexOptions {
  /** 10,000 unless told. */
  readonly incidentsMax?: number;
  /** 200 unless told. */
  readonly incidentsFoldedMax?: number;
  readonly events: EventStore;
  /** Called after each new event, with the incident as it is then. */
  readonly onChange: (summary: IncidentSummary) => void;
  /** `invalid-event`: an event that its schema refuses; `evicted`: an incident that left the list. */
  readonly onCounted: (reason: "invalid-event" | "evicted") => void;
}

/** An index that is empty until `start`. */
export function createIncidentIndex(options: IncidentIndexOptions): IncidentIndex {
  return new StoreIncidentIndex(options);
}

class StoreIncidentIndex implements IncidentIndex {
  #options: IncidentIndexOptions;
  #tracked = new Map<string, Tracked>();
  /** Ids whose events are in memory, least recently used first. */
  #recent = new Set<string>();
  /** Reads of one incident run one after the other, so that no event is taken in twice. */
  #turns = new Map<string, Promise<void>>();
  #unsubscribe: (() => Promise<void>) | null = null;
  /** The newest position over all streams that was read. */
  #positionMax = 0;

  constructor(options: IncidentIndexOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.refresh();
    const where = { afterPosition: this.#positionMax, streamPrefix: incidentPrefix };
    this.#unsubscribe = await this.#options.events.subscribe(where, async (event) => {
      const id = incidentOfStream(event.stream);
      if (event.sequence <= (this.#tracked.get(id)?.sequence ?? 0)) return;
      await this.#inTurn(id, () => this.#catchUp(id));
    });
    // An event may have been written behind the back of the first reading, before the newest position that it saw.
    await this.refresh();
  }

  load(id: string): Promise<Incident | null> {
    return this.#inTurn(id, async () => {
      const entry = await this.#catchUp(id);
      return entry === null ? null : foldEntry(id, entry);
    });
  }

  events(id: string): Promise<readonly IncidentEvent[] | null> {
    return this.#inTurn(id, async () => (await this.#catchUp(id))?.events?.slice() ?? null);
  }

  list(): IndexedIncident[] {
    return [...this.#tracked.values()]
      .flatMap((entry) => (entry.indexed === null ? [] : [entry.indexed]))
      .sort((left, right) => orderNewestFirst(left.summary, right.summary));
  }

  async refresh(): Promise<void> {
    for (const stream of await this.#options.events.streams(incidentPrefix)) {
      const id = incidentOfStream(stream);
      await this.#inTurn(id, () => this.#catchUp(id));
    }
  }

  async stop(): Promise<void> {
    await this.#unsubscribe?.();
    this.#unsubscribe = null;
    await Promise.all(this.#turns.values());
  }

  /** Reads what the store has beyond what is known; null when it has no such stream. */
  async #catchUp(id: string): Promise<Tracked | null> {
    const known = this.#tracked.get(id);
    const events = known?.events ?? null;
    const stored = await readStream(this.#options.events, incidentStream(id), events === null ? 0 : (known?.sequence ?? 0));
    if (known === undefined && stored.length === 0) return null;
    const entry: Tracked = known ?? { sequence: 0, events: null, incident: null, indexed: null };
    const before = entry.sequence;
    entry.events = events ?? [];
    for (const event of stored) this.#takeIn(entry, event);
    if (stored.length > 0) entry.incident = null;
    const incident = foldEntry(id, entry);
    this.#tracked.set(id, entry);
    this.#touch(id);
    if (entry.sequence > before && incident !== null) this.#options.onChange(summaryOf(incident));
    if (this.#tracked.size > (this.#options.incidentsMax ?? incidentsMaxDefault)) this.#evictOldest();
    return entry;
  }

  #takeIn(entry: Tracked, event: StoredEvent): void {
    const parsed = IncidentEvent.safeParse(event.data);
    if (parsed.success) entry.events?.push(parsed.data);
    else this.#options.onCounted("invalid-event");
    entry.sequence = event.sequence;
    this.#positionMax = Math.max(this.#positionMax, event.position);
  }

  #touch(id: string): void {
    this.#recent.delete(id);
    this.#recent.add(id);
    for (const oldest of this.#recent) {
      if (this.#recent.size <= (this.#options.incidentsFoldedMax ?? incidentsFoldedMaxDefault)) return;
      this.#recent.delete(oldest);
      const entry = this.#tracked.get(oldest);
      if (entry === undefined) continue;
      entry.events = null;
      entry.incident = null;
    }
  }

  #evictOldest(): void {
    let oldest: { id: string; number: number } | null = null;
    for (const [id, entry] of this.#tracked) {
      const number = entry.indexed?.summary.number ?? 0;
      if (oldest === null || number < oldest.number) oldest = { id, number };
    }
    if (oldest === null) return;
    this.#tracked.delete(oldest.id);
    this.#recent.delete(oldest.id);
    this.#options.onCounted("evicted");
  }

  #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#turns.get(id) ?? Promise.resolve()).then(work);
    const done = result
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => {
        if (this.#turns.get(id) === done) this.#turns.delete(id);
      });
    this.#turns.set(id, done);
    return result;
  }
}

/** The fold of the events in memory, made anew when it is out of date; the index entry with it. */
function foldEntry(id: string, entry: Tracked): Incident | null {
  if (entry.incident !== null || entry.events === null) return entry.incident;
  const folded = foldIncident(id, entry.events);
  entry.incident = folded === null ? null : { ...folded, sequence: entry.sequence };
  entry.indexed = entry.incident === null ? null : indexedOf(entry.incident);
  return entry.incident;
}

/** Newest first: by number, then by id. */
export function orderNewestFirst(left: { number: number; id: string }, right: { number: number; id: string }): number {
  if (left.number !== right.number) return right.number - left.number;
  return left.id < right.id ? -1 : Number(left.id > right.id);
}

/** What a list shows of an incident. */
function summaryOf(incident: Incident): IncidentSummary {
  return {
    id: incident.id,
    number: incident.number,
    status: incident.status,
    severity: incident.severity,
    onsetMs: incident.onsetMs,
    openedMs: incident.openedMs,
    resolvedMs: incident.resolvedMs,
    sentence: incidentSentence(incident),
    impacts: incident.impacts,
  };
}

function indexedOf(incident: Incident): IndexedIncident {
  const ranking = incident.verdicts.at(-1)?.result.ranking ?? [];
  const entities = new Set([
    ...incident.impacts.map((impact) => impact.entity),
    ...incident.alerts.map((alert) => alert.entity),
    ...incident.anomalies.map((anomaly) => anomaly.series.entity),
    ...ranking.filter((candidate) => candidate.type === "entity" && candidate.role !== "none").map((candidate) => candidate.id),
  ]);
  return { summary: summaryOf(incident), entities };
}
