/** Drops telemetry that is older than its retention (design §10); run by the one process that opens the files. */
import type { TelemetryStore } from "../contract/port.ts";
import type { Platform } from "./platform.ts";

/** Whole days are dropped, so looking more often would find nothing. */
const everyMs = 3_600_000;

/**
 * Looks for old days now, then every hour, until the answer is called. A look that fails is said in the log and tried again at the next one.
 */
export function startRetention(telemetry: TelemetryStore, platform: Platform): () => Promise<void> {
  const { clock, logger } = platform;
  let cancel = (): void => {};
  let isStopped = false;
  const look = async (): Promise<void> => {
    try {
      const dropped = await telemetry.retain(clock.nowMs());
      if (dropped.length > 0) logger.info({ files: dropped }, "telemetry older than its retention was dropped");
    } catch (error) {
      logger.warn(
        { reason: error instanceof Error ? error.message : String(error) },
        "telemetry older than its retention could not be dropped",
      );
    }
    if (isStopped) return;
    cancel = clock.schedule(everyMs, () => {
      looking = look();
    });
  };
  let looking = look();
  return async () => {
    isStopped = true;
    cancel();
    await looking;
  };
}
