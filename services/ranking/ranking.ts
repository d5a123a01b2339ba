/** The ranking stage (design §5): gathers an evidence snapshot, calls the pure ranker, seals both, answers with a verdict. */
import { setTimeout as pause } from "node:timers/promises";
import { contentHash } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { evidenceStream } from "../../contract/event-stream.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import { Outages } from "../../contract/outage.ts";
import type { EventStore, GraphStore, Queue, TelemetryStore } from "../../contract/port.ts";
import type { Verdict, VerdictRequest } from "../../contract/verdict.ts";
import { withQueryTimes } from "../../graph/query-times.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import { ChangeLog } from "./change-log.ts";
import { EarlierIncidents } from "./earlier-incidents.ts";
import { type GatherPorts, gatherSnapshot } from "./gather.ts";
import { kernelPathOf } from "./kernel-path.ts";

interface RankingOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly window: { readonly windowMs: number };
  /** By which adapter each port is reached, in words; shown beside a verdict. */
  readonly engines: Readonly<Record<string, string>>;
  /** Looks at the graph, about 10 ms apart, before a verdict is given without its completeness; 500 unless told. */
  readonly graphAttemptsMax?: number;
}

const graphAttemptsMaxDefault = 500;
/** Pause between two tries while a store is away; on the machine's own timers, because a replay's clock stands still meanwhile. */
const retryPauseMs = 200;
/** How long a stop waits for the answer under way. */
const stopWaitMs = 5_000;
/** What is repeated while something is away. */
const step = "answer";

/**
 * Creates the stage. A request is answered from what the stores hold of the time asked for; while one of them is away the request waits in
 * its handler, because the queue would give it up after some attempts. The snapshot is kept once, in the stream `evidence/<hash>`, so a request answered twice changes nothing.
 */
export function createRanking(options: RankingOptions): Stage {
  const { platform, queue, events, graph, telemetry, window } = options;
  const bounds = platform.metrics.counter("headwater_ranking_bound_reached_total", "Bounds that cut a snapshot's evidence", ["bound"]);
  const answered = platform.metrics.counter("headwater_ranking_verdicts_total", "Verdicts given, by conclusion", ["conclusion"]);
  const seconds = platform.metrics.histogram(
    "headwater_ranking_seconds",
    "Time from request to verdict",
    [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10],
  );
  const ports: GatherPorts = {
    events,
    graph,
    telemetry,
    changes: new ChangeLog(events),
    earlier: new EarlierIncidents(events),
    windowMs: window.windowMs,
    graphAttemptsMax: options.graphAttemptsMax ?? graphAttemptsMaxDefault,
    onBound: (bound) => bounds.inc({ bound }),
  };
  const { clock, logger } = platform;
  const retries = platform.metrics.counter("headwater_ranking_retries_total", "Answers tried again because a store or the queue was away");
  const outages = new Outages({ name: "ranking", clock, logger, onFailed: () => retries.inc() });
  let unsubscribe: () => Promise<void> = () => Promise.resolve();
  let stopped = false;

  async function answer(request: VerdictRequest): Promise<void> {
    const begunMs = platform.clock.nowMs();
    const { result: snapshot, queries } = await withQueryTimes(() => gatherSnapshot(request, ports));
    const gatheredMs = platform.clock.nowMs();
    const verdict = verdictOf(request, snapshot);
    const answeredAtMs = platform.clock.nowMs();
    await seal(events, verdict.snapshotHash, snapshot);
    const times = { gatheredInMs: gatheredMs - begunMs, rankedInMs: answeredAtMs - gatheredMs, answeredAtMs };
    const kernel = await kernelPathOf({ snapshot, result: verdict.result }, telemetry);
    const operational = { ...times, path: { engines: { ...options.engines }, queries }, ...(kernel === null ? {} : { kernel }) };
    await outages.waiting("the queue of verdicts is full, because the incident stage is behind or does not run", () =>
      queue.publish("verdict", { verdict, operational }),
    );
    answered.inc({ conclusion: verdict.result.conclusion });
    seconds.observe((answeredAtMs - begunMs) / 1_000);
    const { incident, version, id, reason } = verdict;
    platform.logger.info({ incident, version, verdict: id, reason, ...times }, "verdict given");
  }

  async function untilAnswered(request: VerdictRequest): Promise<void> {
    while (!stopped) {
      try {
        await answer(request);
        outages.passed(step);
        return;
      } catch (error) {
        if (!(error instanceof HeadwaterError) || !error.retriable || error.code === "STOPPING") throw error;
        outages.failed(step, error);
        await pause(retryPauseMs);
      }
    }
    throw new HeadwaterError("STOPPING", "the ranking stage is stopping");
  }

  return {
    name: "ranking",
    async start() {
      unsubscribe = await queue.subscribe("verdict-request", "ranking", untilAnswered, { concurrency: 1 });
    },
    async settle() {
      while (!stopped && (await queue.depth("verdict-request", "ranking")) > 0) await pause(1);
    },
    async stop() {
      stopped = true;
      // A queue that is away hands out nothing; an answer that cannot be ended in time is asked for again.
      const ended = unsubscribe().catch((error: unknown) => {
        if (!(error instanceof HeadwaterError)) throw error;
      });
      const timer = new AbortController();
      await Promise.race([ended, pause(stopWaitMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
      timer.abort();
      outages.passed(step);
    },
    reasons: () => outages.reasons(),
    partitions: () => ({}),
  };
}

/** Pure: the same request and snapshot give the same verdict, with the same id. */
export function verdictOf(request: VerdictRequest, snapshot: EvidenceSnapshot): Verdict {
  const { incident, version, askedForMs, reason } = request;
  const snapshotHash = contentHash(snapshot);
  const result = rankCauses(snapshot);
  const id = contentHash(["verdict", incident, version, snapshotHash, result]);
  return { id, incident, version, askedForMs, reason, snapshotHash, result };
}

async function seal(events: EventStore, snapshotHash: string, snapshot: EvidenceSnapshot): Promise<void> {
  try {
    await events.append(evidenceStream(snapshotHash), [snapshot], { expectedSequence: 0 });
  } catch (error) {
    // Somebody sealed the same content before.
    if (!(error instanceof HeadwaterError) || error.code !== "CONFLICT") throw error;
  }
}
