/** The ranking stage (design §5): gathers an evidence snapshot, calls the pure ranker, seals both, answers with a verdict. */
import { setTimeout as pause } from "node:timers/promises";
import { contentHash } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { evidenceStream } from "../../contract/event-stream.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { EventStore, GraphStore, Queue, TelemetryStore } from "../../contract/port.ts";
import type { Verdict, VerdictRequest } from "../../contract/verdict.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import type { Addresses } from "./blind-spots.ts";
import { ChangeLog } from "./change-log.ts";
import { EarlierIncidents } from "./earlier-incidents.ts";
import { type GatherPorts, gatherSnapshot } from "./gather.ts";

interface RankingOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly window: { readonly windowMs: number };
  /**
   * Where this platform is reached, for the commands in a verdict; asked for at each of them. It is sealed with the evidence, so what must
   * give the same bytes twice has to answer the same.
   */
  readonly addresses: () => Addresses;
  /** Looks at the graph, about 10 ms apart, before a verdict is given without its completeness; 500 unless told. */
  readonly graphAttemptsMax?: number;
}

const graphAttemptsMaxDefault = 500;

/**
 * Creates the stage. A request is answered from what the stores hold of the time asked for; when one of them is away the request is
 * retried by the queue. The snapshot is kept once, in the stream `evidence/<hash>`, so a request answered twice changes nothing.
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
    addresses: options.addresses,
    graphAttemptsMax: options.graphAttemptsMax ?? graphAttemptsMaxDefault,
    onBound: (bound) => bounds.inc({ bound }),
  };
  let running: Promise<void> = Promise.resolve();
  let stopped = false;

  async function answer(request: VerdictRequest): Promise<void> {
    const begunMs = platform.clock.nowMs();
    const snapshot = await gatherSnapshot(request, ports);
    const gatheredMs = platform.clock.nowMs();
    const verdict = verdictOf(request, snapshot);
    const answeredAtMs = platform.clock.nowMs();
    await seal(events, verdict.snapshotHash, snapshot);
    const operational = { gatheredInMs: gatheredMs - begunMs, rankedInMs: answeredAtMs - gatheredMs, answeredAtMs };
    await queue.publish("verdict", { verdict, operational });
    answered.inc({ conclusion: verdict.result.conclusion });
    seconds.observe((answeredAtMs - begunMs) / 1_000);
    const { incident, version, id, reason } = verdict;
    platform.logger.info({ incident, version, verdict: id, reason, ...operational }, "verdict given");
  }

  return {
    name: "ranking",
    async start() {
      const handler = async (request: VerdictRequest): Promise<void> => {
        if (stopped) throw new HeadwaterError("STOPPING", "the ranking stage is stopping");
        const work = answer(request);
        running = work.catch(() => undefined);
        await work;
      };
      await queue.subscribe("verdict-request", "ranking", handler, { concurrency: 1 });
    },
    async settle() {
      while (!stopped && (await queue.depth("verdict-request", "ranking")) > 0) await pause(1);
    },
    async stop() {
      stopped = true;
      await running;
    },
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
