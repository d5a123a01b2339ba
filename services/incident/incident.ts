/**
 * The incident stage (design §5): reads the anomaly log of all partitions, decides in ticks of event time, writes incidents to the
 * event store, asks for verdicts and records them, records changes and declared alerts.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Alert } from "../../contract/alert.ts";
import { partitionCount } from "../../contract/canonical.ts";
import type { Change } from "../../contract/change.ts";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { incidentOfStream, incidentPrefix, incidentStream } from "../../contract/event-stream.ts";
import { IncidentEvent } from "../../contract/incident.ts";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import type { EventStore, GraphStore, PartitionLog, PartitionOwner, Queue, StoredEvent } from "../../contract/port.ts";
import type { VerdictMessage } from "../../contract/verdict.ts";
import { awaitGraph } from "../../graph/await-graph.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import { CatchUp } from "./catch-up.ts";
import { ChangeStream } from "./change-stream.ts";
import { commitState, restoreState, type StageState } from "./checkpoint.ts";
import { createIncidentCounters, type IncidentCounters } from "./counters.ts";
import { IncidentCore } from "./incident-core.ts";
import type { Effect } from "./incident-work.ts";
import type { ObjectiveOptions } from "./objective.ts";
import { type Reach, reachOf } from "./reach.ts";
import { readIncident, record, type StoredIncident } from "./recorder.ts";
import { type Tick, TickBuffer } from "./tick-buffer.ts";
import { type Timing, timingOf } from "./timing.ts";

interface IncidentOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly window: { readonly windowMs: number };
  readonly objective: ObjectiveOptions;
  readonly timeScale: number;
}

const entriesPerRead = 256;
const readWaitMs = 1_000;
/** Event time between two commits of the state. */
const commitEveryMs = 30_000;
/** Looks at the graph before a tick goes on without its completeness: about 5 s. */
const graphAttemptsMax = 500;
/** Pause between tries while a store is away; on the machine's own timers, because a replay's clock stands still meanwhile. */
const retryPauseMs = 100;

/**
 * Creates the stage. It owns all 16 partitions of the anomaly log, so one process runs it at a time.
 * What it decides depends on event time and content only: on ticks that every partition has closed, and on the graph as of then.
 */
export function createIncident(options: IncidentOptions): Stage {
  return new IncidentStage(options);
}

class IncidentStage implements Stage {
  readonly name = "incident";
  #options: IncidentOptions;
  #timing: Timing;
  #counters: IncidentCounters;
  #changes: ChangeStream;
  #owners: PartitionOwner<"anomaly">[] = [];
  #buffer: TickBuffer | null = null;
  #core: IncidentCore | null = null;
  #unresolved = new Map<string, number>();
  #eventPosition = 0;
  #committedMs: number | null = null;
  /** What people decided was followed and is not in the checkpoint yet. */
  #commitDue: "yes" | "no" = "no";
  #catchUp: CatchUp | null = null;
  #graphComplete: "yes" | "no" = "yes";
  #turn: Promise<unknown> = Promise.resolve();
  #followers: Promise<void>[] = [];
  #unsubscribe: (() => Promise<void>) | null = null;
  #stopping: Promise<void> | null = null;
  /** A tick was left half done: what is in memory must not be committed; the next start reads it again. */
  #abandoned = false;

  constructor(options: IncidentOptions) {
    this.#options = options;
    this.#timing = timingOf({ windowMs: options.window.windowMs, timeScale: options.timeScale });
    this.#counters = createIncidentCounters(options.platform.metrics);
    this.#changes = new ChangeStream(options.events);
  }

  async start(): Promise<void> {
    const { log, queue, events, window, objective } = this.#options;
    invariant(this.#core === null, "the incident stage is started once");
    for (let partition = 0; partition < partitionCount; partition += 1) this.#owners.push(await log.own("anomaly", partition));
    const state = restoreState(this.#owners, window.windowMs);
    this.#buffer = new TickBuffer(window.windowMs, state.position);
    this.#committedMs = state.position.tickMs;
    this.#eventPosition = state.eventPosition;
    this.#unresolved = new Map(state.unresolved);
    const onCounted = (name: string, amount: number): void => this.#counters.bounds.inc({ bound: name }, amount);
    this.#core = new IncidentCore({ timing: this.#timing, objective, json: state.core, onCounted });
    this.#catchUp = await CatchUp.begin(this.#owners, state.position.offsets);
    await this.#changes.catchUp();
    const one = { concurrency: 1 };
    await queue.subscribe("change", "incident", (change) => this.#onChange(change), one);
    await queue.subscribe("alert", "incident", (alert) => this.#onAlert(alert), one);
    await queue.subscribe("verdict", "incident", (message) => this.#onVerdict(message), one);
    this.#followers = this.#owners.map((owner) => this.#follow(owner));
    const from = { afterPosition: this.#eventPosition, streamPrefix: incidentPrefix };
    this.#unsubscribe = await events.subscribe(from, (event) => this.#onIncidentEvent(event));
    // With nothing to read again there is nothing to wait for.
    await this.#inTurn(() => this.#workOff());
  }

  async settle(): Promise<void> {
    const { queue } = this.#options;
    while (this.#stopping === null && !this.#abandoned) {
      const taken = await this.#inTurn(() => this.#takeAll());
      const depths = await Promise.all([
        queue.depth("change", "incident"),
        queue.depth("alert", "incident"),
        queue.depth("verdict", "incident"),
      ]);
      if (taken === 0 && depths.every((depth) => depth === 0)) return;
      await pause(1);
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // The field is set once this returns to `stop`, so that the tick being worked on sees it and ends.
    await Promise.resolve();
    await this.#inTurn(() => this.#commit());
    for (const owner of this.#owners) await owner.release();
    await Promise.all(this.#followers);
    await this.#unsubscribe?.();
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

  /** Reads one partition until the stage stops or somebody else owns it. */
  async #follow(owner: PartitionOwner<"anomaly">): Promise<void> {
    const buffer = this.#started().buffer;
    while (this.#stopping === null && !this.#abandoned) {
      try {
        if (buffer.tooFarAhead(owner.partition)) {
          await pause(retryPauseMs);
          continue;
        }
        const read = await owner.read(buffer.offset(owner.partition), { entriesMax: entriesPerRead, waitMs: readWaitMs });
        if (read.length > 0) await this.#inTurn(() => this.#take(owner.partition, read));
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        const failure = toHeadwaterError(error);
        if (this.#stopping !== null || failure.code === "STOPPING") return;
        this.#counters.failures.inc({ code: failure.code });
        this.#options.platform.logger.error({ partition: owner.partition, code: failure.code, error: failure.message }, "reading failed");
        if (!failure.retriable) {
          this.#abandoned = true;
          return;
        }
        await pause(retryPauseMs);
      }
    }
  }

  async #takeAll(): Promise<number> {
    const { buffer } = this.#started();
    let taken = 0;
    for (const owner of this.#owners) {
      while (!buffer.tooFarAhead(owner.partition) && !this.#abandoned) {
        const read = await owner.read(buffer.offset(owner.partition), { entriesMax: entriesPerRead, waitMs: 0 });
        if (read.length === 0) break;
        taken += read.length;
        this.#accept(owner.partition, read);
      }
    }
    await this.#workOff();
    return taken;
  }

  async #take(partition: number, read: Awaited<ReturnType<PartitionOwner<"anomaly">["read"]>>): Promise<void> {
    if (this.#stopping !== null || this.#abandoned) return;
    this.#accept(partition, read);
    await this.#workOff();
  }

  #accept(partition: number, read: Awaited<ReturnType<PartitionOwner<"anomaly">["read"]>>): void {
    for (const entry of read) {
      const { taken, late } = this.#started().buffer.accept(partition, entry);
      if (taken === "duplicate") this.#counters.duplicates.inc();
      if (late > 0) this.#counters.bounds.inc({ bound: "late_windows" }, late);
    }
  }

  /** Works off every tick that all partitions have closed. */
  async #workOff(): Promise<void> {
    const { buffer, core } = this.#started();
    while (this.#stopping === null && !this.#abandoned) {
      const tick = buffer.next({ every: core.everyTick });
      try {
        if (tick === null) return await this.#endCatchUp();
        await this.#work(tick);
      } catch (error) {
        // The tick is half done: nothing in memory can be trusted to be what the stores hold.
        this.#abandoned = true;
        if (toHeadwaterError(error).code !== "STOPPING") throw error;
        return;
      }
      if (this.#commitDue === "yes" || tick.tickMs - (this.#committedMs ?? 0) >= commitEveryMs) await this.#commit();
    }
  }

  /** Once the logs are read as far as an earlier life may have read them: follows what people resolved meanwhile. */
  async #endCatchUp(): Promise<void> {
    const { buffer, core } = this.#started();
    if (this.#catchUp?.ends((partition) => buffer.offset(partition)) !== "yes") return;
    for (const incident of core.openIncidents) {
      const stored = await this.#untilDone(() => readIncident(this.#options.events, incident));
      await this.#run(this.#followPerson(incident, stored));
    }
    if (this.#commitDue === "yes") await this.#commit();
  }

  async #work(tick: Tick): Promise<void> {
    const { core } = this.#started();
    const { needsGraph } = core.observe(tick);
    const reach = needsGraph === "yes" ? await this.#reach(tick.tickMs) : null;
    await this.#run(core.decide(tick.tickMs, reach));
    for (const [incident, openedMs] of this.#unresolved) {
      if (openedMs <= tick.tickMs && !core.knows(incident)) await this.#adopt(incident);
    }
  }

  /** The dependency graph shortly before the tick, when it is sure to be complete. */
  async #reach(tickMs: number): Promise<Reach> {
    const atMs = tickMs - this.#timing.graphLagMs;
    const attemptsMax = this.#graphComplete === "yes" ? graphAttemptsMax : 1;
    const { view, complete } = await this.#untilDone(() => awaitGraph(this.#options.graph, { atMs, throughMs: atMs, attemptsMax }));
    if (complete === "no") this.#counters.bounds.inc({ bound: "graph_incomplete" });
    this.#graphComplete = complete;
    return reachOf(view);
  }

  async #run(effects: readonly Effect[]): Promise<void> {
    for (const effect of effects) {
      const follow = await this.#untilDone(() => this.#runOne(effect));
      if (follow.length > 0) await this.#run(follow);
    }
  }

  async #runOne(effect: Effect): Promise<readonly Effect[]> {
    const { events, queue, platform } = this.#options;
    if (effect.type === "page") {
      const { incident, occasion, decision } = effect;
      this.#counters.pages.inc({ reason: decision.reason });
      platform.logger.info({ incident, occasion, paged: decision.paged, reason: decision.reason }, "page decided");
      return [];
    }
    if (effect.type === "ask") {
      const { incident } = await readIncident(events, effect.request.incident);
      const answered = incident?.verdicts.some((verdict) => verdict.version === effect.request.version) ?? false;
      if (!answered) await queue.publish("verdict-request", effect.request);
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
    const { core, buffer } = this.#started();
    const last = stored.events.findLast((event) => event.type === "resolved");
    if (stored.incident?.status !== "resolved" || last?.by !== "person" || this.#catchUp?.isOver !== true) return [];
    const effects = core.personResolved(incident, buffer.tickMs ?? last.atMs);
    if (effects.length > 0) this.#commitDue = "yes";
    return effects;
  }

  async #adopt(incident: string): Promise<void> {
    const stored = await this.#untilDone(() => readIncident(this.#options.events, incident));
    if (stored.incident === null || stored.incident.status === "resolved") this.#unresolved.delete(incident);
    else this.#started().core.adopt(stored.incident);
  }

  /** Waits while a store is away. Throws STOPPING when the stage is to stop meanwhile, and what cannot be retried. */
  async #untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        const failure = toHeadwaterError(error);
        if (!failure.retriable || failure.code === "STOPPING") throw failure;
        if (this.#stopping !== null) throw new HeadwaterError("STOPPING", "the incident stage is stopping", { cause: failure });
        this.#counters.failures.inc({ code: failure.code });
        this.#options.platform.logger.warn({ code: failure.code, error: failure.message }, "a store is away, trying again");
        await pause(retryPauseMs);
      }
    }
  }

  async #commit(): Promise<void> {
    const { buffer, core } = this.#started();
    const position = buffer.position();
    if (this.#abandoned || position.tickMs === null) return;
    if (position.tickMs === this.#committedMs && this.#commitDue === "no") return;
    const state: StageState = {
      windowMs: this.#timing.windowMs,
      position,
      core: core.toJson(),
      eventPosition: this.#eventPosition,
      unresolved: [...this.#unresolved],
    };
    try {
      await commitState(this.#owners, state);
      this.#committedMs = position.tickMs;
      this.#commitDue = "no";
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const failure = toHeadwaterError(error);
      this.#counters.failures.inc({ code: failure.code });
      this.#options.platform.logger.error({ code: failure.code, error: failure.message }, "the state could not be committed");
      if (failure.code === "FENCED") this.#abandoned = true;
    }
  }

  async #onChange(change: Change): Promise<void> {
    this.#refuseWhenStopping();
    this.#counters.changes.inc({ outcome: await this.#changes.record(change) });
  }

  #onAlert(alert: Alert): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseWhenStopping();
      const { core, buffer } = this.#started();
      const tickMs = buffer.tickMs ?? alert.startsAtMs;
      await this.#run(core.declared(alert, { tickMs, reach: await this.#reach(tickMs) }));
    });
  }

  /** Outside of the turn: it needs the store only, and a full queue of verdicts must not wait for a tick that waits for it. */
  async #onVerdict({ verdict, operational }: VerdictMessage): Promise<void> {
    this.#refuseWhenStopping();
    const event: IncidentEvent = { type: "verdict-added", atMs: verdict.askedForMs, actor: null, verdict, operational };
    const { incident } = await record(this.#options.events, verdict.incident, [event]);
    this.#counters.verdicts.inc({ outcome: incident === null ? "unknown-incident" : "recorded" });
  }

  async #onIncidentEvent(event: StoredEvent): Promise<void> {
    const parsed = IncidentEvent.safeParse(event.data);
    const incident = incidentOfStream(event.stream);
    if (parsed.success) {
      const { type, atMs } = parsed.data;
      if (type === "opened" || type === "reopened") this.#unresolved.set(incident, atMs);
      if (type === "resolved") this.#unresolved.delete(incident);
      if (type === "resolved" && parsed.data.by === "person") {
        await this.#inTurn(async () => {
          if (this.#stopping !== null || this.#abandoned || !this.#started().core.knows(incident)) return;
          await this.#run(this.#followPerson(incident, await readIncident(this.#options.events, incident)));
          if (this.#commitDue === "yes") await this.#commit();
        });
      }
    }
    this.#eventPosition = event.position;
  }

  #refuseWhenStopping(): void {
    if (this.#stopping !== null || this.#abandoned) throw new HeadwaterError("STOPPING", "the incident stage is stopping");
  }

  #started(): { buffer: TickBuffer; core: IncidentCore } {
    invariant(this.#buffer !== null && this.#core !== null, "the incident stage was not started");
    return { buffer: this.#buffer, core: this.#core };
  }
}
