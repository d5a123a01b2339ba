/** Whether the stores behind this API answer: asked by itself and by `/readyz`, told to the log once when one goes away and once when it is back. */
import { changeStream } from "../../contract/event-stream.ts";
import type { Clock, EventStore, GraphStore, Presence, TelemetryStore } from "../../contract/port.ts";
import type { Logger } from "../platform.ts";
import { answerWithinMs, createWatch, type Reading, type Watch } from "./watch.ts";

const checkEveryMs = 2_000;

export interface StoreHealthOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  /** Reaches the server of the queue; without it that is not asked. */
  readonly presence?: Presence | null;
}

export interface StoreHealth {
  /** Checks every 2 s until `stop`, so that an outage is noticed while nobody looks. */
  start(): void;
  stop(): void;
  /** Why the API is not ready, asked now; resolves within about 2 s. Without the servers' own words: probes need no token. */
  check(): Promise<string[]>;
  /** What was away when asked last, in the servers' words; empty when all answered. */
  reasons(): readonly string[];
}

export function createStoreHealth(options: StoreHealthOptions): StoreHealth {
  const watches = watchesOf(options);
  let cancel: (() => void) | null = null;
  let isStopped = false;
  const check = async (): Promise<string[]> => {
    const reasons = await Promise.all(watches.map(async (watch) => reasonOf(watch.name, await watch.read())));
    return reasons.filter((reason) => reason !== null);
  };
  const checkAgain = async (): Promise<void> => {
    await check();
    if (!isStopped) cancel = options.clock.schedule(checkEveryMs, () => void checkAgain());
  };
  return {
    start: () => void checkAgain(),
    stop() {
      isStopped = true;
      cancel?.();
    },
    check,
    reasons: () => watches.flatMap((watch) => watch.known().away?.message ?? []),
  };
}

/** Asked the cheapest question that reaches the server behind each store. */
function watchesOf({ clock, logger, events, graph, telemetry, presence }: StoreHealthOptions): Watch<unknown>[] {
  const watch = (name: string, ask: () => Promise<unknown>): Watch<unknown> =>
    createWatch({
      clock,
      name,
      ask,
      onAway: ({ code, message }) => logger.warn({ code, reason: message }, `${name} is away; the API answers what it knows`),
      onBack: ({ lastedMs, failures }) => logger.info({ lastedMs, failures }, `${name} is back`),
    });
  return [
    watch("the event store", () => events.read(changeStream, { eventsMax: 1 })),
    watch("the graph", () => graph.similar(["readiness"], { countMax: 1 })),
    watch("the telemetry store", () => telemetry.summaries({ entities: ["readiness"], seriesMax: 1 })),
    ...(presence === undefined || presence === null ? [] : [watch("the queue", () => presence.list())]),
  ];
}

/** Null when the store answers. */
function reasonOf(name: string, { away, waitingMs }: Reading<unknown>): string | null {
  if (away !== null) return `${name} has been away since ${new Date(away.sinceMs).toISOString()}: ${away.code ?? "no answer"}`;
  return waitingMs === null ? null : `${name} did not answer within ${answerWithinMs} ms`;
}
