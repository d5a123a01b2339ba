/** The detection stage: owns partitions of the window log, scores every series, tells every anomaly, suppresses nothing (design §5). */
import type { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { LostGroup } from "../../contract/lost-batches.ts";
import { Outages } from "../../contract/outage.ts";
import { type OwnedWork, PartitionGroup } from "../../contract/partition-group.ts";
import { PartitionReader } from "../../contract/partition-reader.ts";
import type { PartitionLog, PartitionOwner, TelemetryStore } from "../../contract/port.ts";
import type { Platform } from "../platform.ts";
import { partitionStage, type Stage } from "../stage.ts";
import { type DetectionCounts, DetectionPartition } from "./detection-partition.ts";
import { type SpanChoice, spanChoiceDefault } from "./kept-spans.ts";

const seriesMaxDefault = 20_000;
const checkpointMsDefault = 30_000;

export interface DetectionOptions {
  readonly platform: Platform;
  readonly log: PartitionLog;
  readonly telemetry: TelemetryStore;
  /** As configured under `window`; durations of event time in ms. */
  readonly window: { readonly windowMs: number; readonly settleMs: number; readonly sourceSilentMs: number; readonly amendMs: number };
  /** Between two checkpoints of a partition; 30 s unless told. */
  readonly checkpointMs?: number;
  /** Series of one partition at most; 20,000 unless told. */
  readonly seriesMax?: number;
  /** How ingest was told to choose spans; its defaults unless told. */
  readonly spanChoice?: SpanChoice;
}

/**
 * Creates the stage. The partitions of the window log are shared out among the processes that run it. Metrics:
 * `headwater_detection_windows_total`, `…_windows_skipped_total`, `…_late_total{what}`, `…_amended_total`, `…_dropped_total{reason}`,
 * `…_anomalies_total{state}`, `…_source_gaps_total{what}`, `…_retries_total`, `…_partitions_lost_total`, `…_partitions`, `…_series`,
 * `…_lost_batches`.
 * `settle` needs no timer: it resolves once everything appended to the partitions owned here has been read, scored and written.
 */
export function createDetection(options: DetectionOptions): Stage {
  const { platform, log } = options;
  const { metrics, logger, clock } = platform;
  const counts = createCounts(platform);
  const works = new Map<number, DetectionPartition>();
  const retries = metrics.counter("headwater_detection_retries_total", "Steps repeated because a log or store was away");
  const lost = metrics.counter("headwater_detection_partitions_lost_total", "Partitions given up before the stage was stopped");
  const owned = metrics.gauge("headwater_detection_partitions", "Partitions of the window log that this process works on");
  const series = metrics.gauge("headwater_detection_series", "Series that detection follows");
  // The same registry serves the next stage made on this platform, so the gauge asks whoever was made last.
  Object.assign(series, { collect: () => series.set([...works.values()].reduce((sum, { seriesCount }) => sum + seriesCount, 0)) });
  const lostBatches = (): LostGroup[] => [...works.values()].flatMap((work) => work.lostBatches());
  const missing = metrics.gauge("headwater_detection_lost_batches", "Acknowledged batches that were found missing in the last hour");
  Object.assign(missing, { collect: () => missing.set(lostBatches().reduce((sum, { batches }) => sum + batches, 0)) });
  const outages = new Outages({ name: "detection", clock, logger, onFailed: () => retries.inc() });

  async function begin(owner: PartitionOwner<"window">, onLost: (error: HeadwaterError) => void): Promise<OwnedWork> {
    const { telemetry, window, seriesMax = seriesMaxDefault, spanChoice = spanChoiceDefault } = options;
    const { partition } = owner;
    const work = new DetectionPartition({ partition, ...window, seriesMax, spanChoice, log, telemetry, counts, outages });
    const reader = new PartitionReader({
      ...{ owner, work, clock, outages, checkpointMs: options.checkpointMs ?? checkpointMsDefault },
      onLost: (error) => {
        lost.inc();
        onLost(error);
      },
    });
    reader.load();
    reader.run();
    works.set(partition, work);
    const stop = async (): Promise<void> => {
      await reader.stop();
      works.delete(partition);
    };
    return { settle: () => reader.settle(), stop };
  }

  const group = new PartitionGroup({
    ...{ log, topic: "window", sharing: "each", clock, outages },
    begin: async (owners, onLost) => {
      const [owner] = owners;
      invariant(owner !== undefined && owners.length === 1, "detection works on its partitions one by one");
      return await begin(owner, onLost);
    },
    onOwned: (partitions) => owned.set(partitions.length),
  });
  return { ...partitionStage("detection", { topic: "window", group, outages }), lostBatches };
}

function createCounts({ metrics }: Platform): DetectionCounts {
  const counter = (name: string, help: string, labels: readonly string[] = []) =>
    metrics.counter(`headwater_detection_${name}`, help, labels);
  const windows = counter("windows_total", "Windows closed, over all partitions");
  const skipped = counter("windows_skipped_total", "Empty windows passed over in a hole of event time");
  const late = counter("late_total", "Data that came too late to be added to their window", ["what"]);
  const amended = counter("amended_total", "Stored windows replaced because data came after they were closed");
  const dropped = counter("dropped_total", "Data beyond a bound of detection, and values that are no numbers", ["reason"]);
  const anomalies = counter("anomalies_total", "Anomalies told", ["state"]);
  const gaps = counter("source_gaps_total", "Batches missing in the sequences of a source that were given up, and sources forgotten", [
    "what",
  ]);
  return {
    dropped: (reason) => dropped.inc({ reason }),
    late: (what) => late.inc({ what }),
    amended: () => amended.inc(),
    windowClosed: (told) => {
      windows.inc();
      for (const { state } of told) anomalies.inc({ state });
    },
    windowsSkipped: (count) => skipped.inc(count),
    sourceGap: (what, count) => gaps.inc({ what }, count),
  };
}
