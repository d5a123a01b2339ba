/** What reaches the incident stage besides the anomaly log: changes, declared alerts, verdicts. */
import type { Alert } from "../../contract/alert.ts";
import type { Change } from "../../contract/change.ts";
import type { IncidentEvent } from "../../contract/incident.ts";
import type { EventStore, Queue } from "../../contract/port.ts";
import type { VerdictMessage } from "../../contract/verdict.ts";
import { ChangeStream } from "./change-stream.ts";
import type { IncidentCounters } from "./counters.ts";
import { record } from "./recorder.ts";
import { ignoreOperational, type RunState } from "./run-state.ts";

interface InboxOptions {
  readonly queue: Queue;
  readonly events: EventStore;
  readonly counters: IncidentCounters;
  /** While something is away a message waits in its handler: the queue would give it up after some attempts. */
  readonly state: RunState;
  readonly onAlert: (alert: Alert) => Promise<void>;
}

const one = { concurrency: 1 };

export class Inbox {
  readonly #options: InboxOptions;
  readonly #changes: ChangeStream;
  /** Each ends a subscription. */
  #unsubscribes: (() => Promise<void>)[] = [];

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#changes = new ChangeStream(options.events);
  }

  /** Subscribes to the queues. When it fails, `close` ends what it had begun. */
  async open(): Promise<void> {
    const { queue, onAlert } = this.#options;
    await this.#changes.catchUp();
    this.#unsubscribes.push(await queue.subscribe("change", "incident", (change) => this.#onChange(change), one));
    this.#unsubscribes.push(await queue.subscribe("alert", "incident", onAlert, one));
    this.#unsubscribes.push(await queue.subscribe("verdict", "incident", (message) => this.#onVerdict(message), one));
  }

  /** Whether all that had come was handled. */
  async isEmpty(): Promise<boolean> {
    const { queue } = this.#options;
    const depths = await Promise.all([
      queue.depth("change", "incident"),
      queue.depth("alert", "incident"),
      queue.depth("verdict", "incident"),
    ]);
    return depths.every((depth) => depth === 0);
  }

  /** Takes nothing more and waits for what is being handled; the rest stays in the queues. Idempotent. */
  async close(): Promise<void> {
    const ended = this.#unsubscribes.splice(0).map((unsubscribe) => unsubscribe());
    await Promise.all(ended.map((end) => end.catch(ignoreOperational)));
  }

  async #onChange(change: Change): Promise<void> {
    const { state, counters } = this.#options;
    state.refuseWhenOver();
    const outcome = await state.untilDone("change", () => this.#changes.record(change));
    counters.changes.inc({ outcome });
  }

  /** Not in turn with ticks: it needs the store only, and a full queue of verdicts must not wait for a tick that waits for it. */
  async #onVerdict({ verdict, operational }: VerdictMessage): Promise<void> {
    const { state, counters, events } = this.#options;
    state.refuseWhenOver();
    const event: IncidentEvent = { type: "verdict-added", atMs: verdict.askedForMs, actor: null, verdict, operational };
    const { incident } = await state.untilDone("verdict", () => record(events, verdict.incident, [event]));
    counters.verdicts.inc({ outcome: incident === null ? "unknown-incident" : "recorded" });
  }
}
