/**
 * The work of the incident stage from the moment it owns the anomaly log until it gives it back. Everything it knows is in its checkpoint and
 * in the stores, so that it can be begun anew, here or in another process, whatever became of an earlier one.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Alert } from "../../contract/alert.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { incidentOfStream, incidentPrefix, incidentStream } from "../../contract/event-stream.ts";
import { IncidentEvent } from "../../contract/incident.ts";
import type { Outages } from "../../contract/outage.ts";
import type { OwnedWork } from "../../contract/partition-group.ts";
import type { EventStore, GraphStore, PartitionLog, PartitionOwner, Queue, StoredEvent } from "../../contract/port.ts";
import { awaitGraph } from "../../graph/await-graph.ts";
import type { Platform } from "../platform.ts";
import { CatchUp } from "./catch-up.ts";
import { commitState, restoreState, type StageState } from "./checkpoint.ts";
import type { IncidentCounters } from "./counters.ts";
import { Inbox } from "./inbox.ts";
import { IncidentCore } from "./incident-core.ts";
import type { Effect } from "./incident-work.ts";
import type { ObjectiveOptions } from "./objective.ts";
import { type Reach, reachOf } from "./reach.ts";
import { readIncident, record, type StoredIncident } from "./recorder.ts";
import { ignoreOperational, isOperational, RunState, retryPauseMs } from "./run-state.ts";
import { type Tick, TickBuffer } from "./tick-buffer.ts";
import type { Timing } from "./timing.ts";

export interface IncidentOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly window: { readonly windowMs: number };
  readonly objective: ObjectiveOptions;
  readonly timeScale: number;
}

/** What a run is given besides the options of the stage. */
interface RunParts {
  readonly timing: Timing;
  readonly counters: IncidentCounters;
  readonly outages: Outages;
  /** All 16, in order. */
  readonly owners: readonly PartitionOwner<"anomaly">[];
  /** Told once when the run cannot go on; it is to be stopped then. */
  readonly lost: (error: HeadwaterError) => void;
}

const entriesPerRead = 256;
const readWaitMs = 1_000;
/** Event time between two commits of the state. */
const commitEveryMs = 30_000;
/** Looks at the graph before a tick goes on without its completeness: about 5 s. */
const graphAttemptsMax = 500;
/** How long a stop waits for what is under way, and then for those who read. */
const stopWaitMs = 8_000;

export class IncidentRun implements OwnedWork {
  readonly #options: IncidentOptions;
  readonly #parts: RunParts;
  readonly #state: RunState;
  readonly #inbox: Inbox;
  readonly #buffer: TickBuffer;
  readonly #core: IncidentCore;
  readonly #catchUp: CatchUp;
  readonly #unresolved: Map<string, number>;
  #eventPosition: number;
  #committedMs: number | null;
  /** What people decided was followed and is not in the checkpoint yet. */
  #commitDue: "yes" | "no" = "no";
  #graphComplete: "yes" | "no" = "yes";
  #turn: Promise<unknown> = Promise.resolve();
  #followers: Promise<void>[] = [];
  #unfollowEvents: () => Promise<void> = () => Promise.resolve();

  private constructor(options: IncidentOptions, parts: RunParts, from: { state: StageState; catchUp: CatchUp }) {
    const { state, catchUp } = from;
    const { counters, timing } = parts;
    this.#options = options;
    this.#parts = parts;
    this.#state = new RunState(parts);
    const { queue, events } = options;
    this.#inbox = new Inbox({ queue, events, counters, state: this.#state, onAlert: (alert) => this.#onAlert(alert) });
    this.#buffer = new TickBuffer(options.window.windowMs, state.position);
    this.#committedMs = state.position.tickMs;
    this.#eventPosition = state.eventPosition;
    this.#unresolved = new Map(state.unresolved);
    const onCounted = (name: string, amount: number): void => counters.bounds.inc({ bound: name }, amount);
    this.#core = new IncidentCore({ timing, objective: options.objective, json: state.core, onCounted });
    this.#catchUp = catchUp;
  }

  /** Throws what log, queue and stores throw, DATA_VERSION_UNKNOWN; then nothing goes on, and the owners are the caller's to release. */
  static async begin(options: IncidentOptions, parts: RunParts): Promise<IncidentRun> {
    const state = restoreState(parts.owners, options.window.windowMs);
    const catchUp = await CatchUp.begin(parts.owners, state.position.offsets);
    const run = new IncidentRun(options, parts, { state, catchUp });
    try {
      await run.#open();
      return run;
    } catch (error) {
      run.#state.stop();
      await within(stopWaitMs, run.#leave());
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { events } = this.#options;
    await this.#inbox.open();
    const from = { afterPosition: this.#eventPosition, streamPrefix: incidentPrefix };
    this.#unfollowEvents = await events.subscribe(from, (event) => this.#onIncidentEvent(event));
    this.#followers = this.#parts.owners.map((owner) => this.#follow(owner));
    // With nothing to read again there is nothing to wait for. Not awaited: a store may be away.
    void this.#inTurn(() => this.#workOff());
  }

  /** Rejects when the run is lost. */
  async settle(): Promise<void> {
    while (!this.#state.isOver) {
      const taken = await this.#inTurn(() => this.#takeAll());
      const isEmpty = await this.#inbox.isEmpty();
      if (!this.#state.isOver && taken === 0 && isEmpty) return;
      await pause(1);
    }
    if (this.#state.failure !== null) throw this.#state.failure;
  }

  async stop(): Promise<void> {
    this.#state.stop();
    const late = new HeadwaterError("STOPPING", "the incident stage could not end what was under way in time");
    if ((await within(stopWaitMs, this.#finish())) === "late") this.#state.abandon(late);
    await Promise.all(this.#parts.owners.map((owner) => owner.release().catch(ignoreOperational)));
    // Reads end when their partition is released.
    await within(stopWaitMs, Promise.all([...this.#followers, this.#leave()]));
    this.#state.forgetOutages();
  }

  /** Takes nothing more from the queues, lets what is under way end, and commits. */
  async #finish(): Promise<void> {
    await this.#inbox.close();
    await this.#inTurn(() => this.#commit());
  }

  async #leave(): Promise<void> {
    await this.#inbox.close();
    await this.#unfollowEvents().catch(ignoreOperational);
  }

  /** One thing at a time: ticks, declared alerts and what people did. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** Reads one partition until the run is over. */
  async #follow(owner: PartitionOwner<"anomaly">): Promise<void> {
    const { outages } = this.#parts;
    const step = `read partition ${owner.partition} of the anomaly log`;
    while (!this.#state.isOver) {
      try {
        if (this.#buffer.tooFarAhead(owner.partition)) {
          await pause(retryPauseMs);
          continue;
        }
        const read = await owner.read(this.#buffer.offset(owner.partition), { entriesMax: entriesPerRead, waitMs: readWaitMs });
        outages.passed(step);
        if (read.length > 0) await this.#inTurn(() => this.#take(owner.partition, read));
      } catch (error) {
        if (this.#state.isOver) break;
        if (isOperational(error) && error.retriable && error.code !== "STOPPING") {
          outages.failed(step, error);
          await pause(retryPauseMs);
        } else this.#state.abandon(error);
      }
    }
    outages.passed(step);
  }

  async #takeAll(): Promise<number> {
    let taken = 0;
    for (const owner of this.#parts.owners) {
      while (!this.#buffer.tooFarAhead(owner.partition) && !this.#state.isOver) {
        const read = await owner.read(this.#buffer.offset(owner.partition), { entriesMax: entriesPerRead, waitMs: 0 });
        if (read.length === 0) break;
        taken += read.length;
        this.#accept(owner.partition, read);
      }
    }
    await this.#workOff();
    return taken;
  }

  async #take(partition: number, read: Awaited<ReturnType<PartitionOwner<"anomaly">["read"]>>): Promise<void> {
    if (this.#state.isOver) return;
    this.#accept(partition, read);
    await this.#workOff();
  }

  #accept(partition: number, read: Awaited<ReturnType<PartitionOwner<"anomaly">["read"]>>): void {
    const { counters } = this.#parts;
    for (const entry of read) {
      const { taken, late } = this.#buffer.accept(partition, entry);
      if (taken === "duplicate") counters.duplicates.inc();
      if (late > 0) counters.bounds.inc({ bound: "late_windows" }, late);
    }
  }

  /** Works off every tick that all partitions have closed. Never rejects. */
  async #workOff(): Promise<void> {
    while (!this.#state.isOver) {
      const tick = this.#buffer.next({ every: this.#core.everyTick });
      try {
        if (tick === null) return await this.#endCatchUp();
        await this.#work(tick);
        if (this.#commitDue === "yes" || tick.tickMs - (this.#committedMs ?? 0) >= commitEveryMs) await this.#commit();
      } catch (error) {
        // The tick is half done: nothing in memory can be trusted to be what the stores hold.
        this.#state.abandon(error);
      }
    }
  }

  /** Once the logs are read as far as an earlier life may have read them: follows what people resolved meanwhile. */
  async #endCatchUp(): Promise<void> {
    if (this.#catchUp.ends((partition) => this.#buffer.offset(partition)) !== "yes") return;
    for (const incident of this.#core.openIncidents) {
      const stored = await this.#state.untilDone("tick", () => readIncident(this.#options.events, incident));
      await this.#run(this.#followPerson(incident, stored));
    }
    if (this.#commitDue === "yes") await this.#commit();
  }

  async #work(tick: Tick): Promise<void> {
    const { needsGraph } = this.#core.observe(tick);
    const reach = needsGraph === "yes" ? await this.#reach(tick.tickMs) : null;
    await this.#run(this.#core.decide(tick.tickMs, reach));
    for (const [incident, openedMs] of this.#unresolved) {
      if (openedMs <= tick.tickMs && !this.#core.knows(incident)) await this.#adopt(incident);
    }
  }

  /** The dependency graph shortly before the tick, when it is sure to be complete. */
  async #reach(tickMs: number): Promise<Reach> {
    const atMs = tickMs - this.#parts.timing.graphLagMs;
    const attemptsMax = this.#graphComplete === "yes" ? graphAttemptsMax : 1;
    const { view, complete } = await this.#state.untilDone("tick", () =>
      awaitGraph(this.#options.graph, { atMs, throughMs: atMs, attemptsMax }),
    );
    if (complete === "no") this.#parts.counters.bounds.inc({ bound: "graph_incomplete" });
    this.#graphComplete = complete;
    return reachOf(view);
  }

  async #run(effects: readonly Effect[]): Promise<void> {
    for (const effect of effects) {
      const follow = await this.#state.untilDone("tick", () => this.#runOne(effect));
      if (follow.length > 0) await this.#run(follow);
    }
  }

  async #runOne(effect: Effect): Promise<readonly Effect[]> {
    const { events, queue, platform } = this.#options;
    if (effect.type === "page") {
      const { incident, occasion, decision } = effect;
      this.#parts.counters.pages.inc({ reason: decision.reason });
      platform.logger.info({ incident, occasion, paged: decision.paged, reason: decision.reason }, "page decided");
      return [];
    }
    if (effect.type === "ask") {
      const { incident } = await readIncident(events, effect.request.incident);
      const answered = incident?.verdicts.some((verdict) => verdict.version === effect.request.version) ?? false;
      const publish = (): Promise<void> => queue.publish("verdict-request", effect.request);
      const sentence = "the queue of verdict requests is full, because ranking is behind or does not run";
      if (!answered) await this.#parts.outages.waiting(sentence, publish);
      return [];
    }
    const drafted = effect.type === "append" ? effect.events : [{ ...effect.opened, number: await this.#numberFor(effect.incident) }];
    return this.#followPerson(effect.incident, await record(events, effect.incident, drafted));
  }

  async #numberFor(incident: string): Promise<number> {
    const streams = await this.#options.events.streams(incidentPrefix);
    return streams.filter((stream) => stream !== incidentStream(incident)).length + 1;
  }

  /** A person may have resolved it meanwhile. The tick at which that is followed must survive, so it is committed soon. */
  #followPerson(incident: string, stored: StoredIncident): readonly Effect[] {
    const last = stored.events.findLast((event) => event.type === "resolved");
    if (stored.incident?.status !== "resolved" || last?.by !== "person" || !this.#catchUp.isOver) return [];
    const effects = this.#core.personResolved(incident, this.#buffer.tickMs ?? last.atMs);
    if (effects.length > 0) this.#commitDue = "yes";
    return effects;
  }

  async #adopt(incident: string): Promise<void> {
    const stored = await this.#state.untilDone("tick", () => readIncident(this.#options.events, incident));
    if (stored.incident === null || stored.incident.status === "resolved") this.#unresolved.delete(incident);
    else this.#core.adopt(stored.incident);
  }

  /** What could not be committed now is committed later, with more; FENCED ends the run. */
  async #commit(): Promise<void> {
    const { outages, owners, timing } = this.#parts;
    const position = this.#buffer.position();
    if (this.#state.isAbandoned || position.tickMs === null) return;
    if (position.tickMs === this.#committedMs && this.#commitDue === "no") return;
    const state: StageState = {
      windowMs: timing.windowMs,
      position,
      core: this.#core.toJson(),
      eventPosition: this.#eventPosition,
      unresolved: [...this.#unresolved],
    };
    try {
      await commitState(owners, state);
      this.#committedMs = position.tickMs;
      this.#commitDue = "no";
      outages.passed("commit");
    } catch (error) {
      if (isOperational(error) && error.retriable) outages.failed("commit", error);
      else this.#state.abandon(error);
    }
  }

  #onAlert(alert: Alert): Promise<void> {
    return this.#inTurn(async () => {
      this.#state.refuseWhenOver();
      const tickMs = this.#buffer.tickMs ?? alert.startsAtMs;
      const reach = await this.#reach(tickMs);
      await this.#state.orAbandon(() => this.#run(this.#core.declared(alert, { tickMs, reach })));
    });
  }

  async #onIncidentEvent(event: StoredEvent): Promise<void> {
    const parsed = IncidentEvent.safeParse(event.data);
    const incident = incidentOfStream(event.stream);
    if (parsed.success) {
      const { type, atMs } = parsed.data;
      if (type === "opened" || type === "reopened") this.#unresolved.set(incident, atMs);
      if (type === "resolved") this.#unresolved.delete(incident);
      if (type === "resolved" && parsed.data.by === "person") await this.#inTurn(() => this.#followResolution(incident));
    }
    this.#eventPosition = event.position;
  }

  async #followResolution(incident: string): Promise<void> {
    if (this.#state.isOver || !this.#core.knows(incident)) return;
    const stored = await this.#state.untilDone("person", () => readIncident(this.#options.events, incident));
    await this.#state.orAbandon(() => this.#run(this.#followPerson(incident, stored)));
    if (this.#commitDue === "yes") await this.#commit();
  }
}

/** On the machine's own timers, as all waiting here. */
async function within(limitMs: number, work: Promise<unknown>): Promise<"done" | "late"> {
  const timer = new AbortController();
  const late = pause(limitMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
  const result = await Promise.race([work.then(() => "done" as const), late]);
  timer.abort();
  return result;
}
