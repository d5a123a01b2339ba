/** The detection stage: owns partitions of the window log, scores every series, tells every anomaly, suppresses nothing (design §5). */
import { allPartitions } from "../../contract/canonical.ts";
import { PartitionReader } from "../../contract/partition-reader.ts";
import type { PartitionLog, TelemetryStore } from "../../contract/port.ts";
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
  /** Partitions to own; all 16 unless told. */
  readonly partitions?: readonly number[];
  /** Between two checkpoints of a partition; 30 s unless told. */
  readonly checkpointMs?: number;
  /** Series of one partition at most; 20,000 unless told. */
  readonly seriesMax?: number;
  /** How ingest was told to choose spans; its defaults unless told. */
  readonly spanChoice?: SpanChoice;
}

/**
 * Creates the stage. Metrics: `headwater_detection_windows_total`, `…_windows_skipped_total`, `…_late_total{what}`, `…_amended_total`,
 * `…_dropped_total{reason}`, `…_anomalies_total{state}`, `…_source_gaps_total{what}`, `…_retries_total`, `…_partitions_lost_total`,
 * `…_series`. `settle` needs no timer: it resolves once everything appended to the window log has been read, scored and written.
 */
export function createDetection(options: DetectionOptions): Stage {
  const { platform, log } = options;
  const counts = createCounts(platform);
  const works = (options.partitions ?? allPartitions).map((partition) => {
    const { telemetry, window, seriesMax = seriesMaxDefault, spanChoice = spanChoiceDefault } = options;
    return { partition, work: new DetectionPartition({ partition, ...window, seriesMax, spanChoice, log, telemetry, counts }) };
  });
  const { metrics, logger, clock } = platform;
  const retries = metrics.counter("headwater_detection_retries_total", "Steps repeated because a log or store was away");
  const lost = metrics.counter("headwater_detection_partitions_lost_total", "Partitions given up before the stage was stopped");
  const series = metrics.gauge("headwater_detection_series", "Series that detection follows");
  // The same registry serves the next stage made on this platform, so the gauge asks whoever was made last.
  Object.assign(series, { collect: () => series.set(works.reduce((sum, { work }) => sum + work.seriesCount, 0)) });
  const readers = works.map(({ partition, work }) => {
    return new PartitionReader({
      ...{ log, topic: "window", partition, work, clock, checkpointMs: options.checkpointMs ?? checkpointMsDefault },
      onRetry: (error) => {
        retries.inc();
        logger.warn({ partition, code: error.code, reason: error.message }, "detection waits for a log or store");
      },
      onLost: (error) => {
        lost.inc();
        logger.warn({ partition, code: error.code, reason: error.message }, "detection has given up a partition");
      },
    });
  });
  return partitionStage("detection", readers);
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
  const gaps = counter("source_gaps_total", "Gaps in the sequences of a source that were given up, and sources forgotten", ["what"]);
  return {
    dropped: (reason) => dropped.inc({ reason }),
    late: (what) => late.inc({ what }),
    amended: () => amended.inc(),
    windowClosed: (told) => {
      windows.inc();
      for (const { state } of told) anomalies.inc({ state });
    },
    windowsSkipped: (count) => skipped.inc(count),
    sourceGap: (what) => gaps.inc({ what }),
  };
}
