/** Sends a recording through the whole flow again, on an injected clock, as fast as the machine can. */
import { parseConfig } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { App } from "../app.ts";
import { createLogger, createMetrics, ManualClock } from "../platform.ts";
import { labSpec } from "./lab-config.ts";
import type { Recording } from "./recording.ts";

/** Bodies between two waits for the flow to come to rest: bounds what is in flight. */
const bodiesPerSettle = 50;

export interface ReplayOptions {
  readonly recording: Recording;
  /** An empty directory for the run's data. */
  readonly dataDirectory: string;
  /** The built page, where somebody wants to look at the result; null serves the API alone. */
  readonly webDirectory: string | null;
}

/**
 * Replays a recording into a fresh app and answers it, settled and still running; the caller reads what it wants and stops it.
 * Throws RECORDING_INVALID when the gateway refuses a body that it once accepted.
 */
export async function replay(options: ReplayOptions): Promise<App> {
  const { header, bodies } = options.recording;
  const clock = new ManualClock(header.startedAtMs);
  // Anything random would make two replays differ, so the source of randomness is constant.
  const platform = { clock, logger: createLogger("warn"), metrics: createMetrics(), random: () => 0.5 };
  const config = parseConfig({
    ...labSpec(options.dataDirectory),
    window: { ...labSpec(options.dataDirectory).window, windowMs: header.windowMs },
    timeScale: header.timeScale,
  });
  const app = await App.start({ config, platform, gatewayId: "replay", webDirectory: options.webDirectory });
  try {
    for (const [index, body] of bodies.entries()) {
      clock.advanceTo(body.receivedAtMs);
      const answer = await app.gateway.accept({
        method: "POST",
        path: body.path,
        headers: { "content-type": body.contentType },
        body: body.body,
        receivedAtMs: body.receivedAtMs,
      });
      if (answer.status >= 300)
        throw new HeadwaterError("RECORDING_INVALID", `body ${index} to ${body.path} was answered with ${answer.status}`);
      // Each body becomes a log entry of its own: how batches share a flush depends on the machine's speed, and must not show.
      await app.flush();
      if (index % bodiesPerSettle === bodiesPerSettle - 1) await app.settle();
    }
    await app.settle();
    return app;
  } catch (error) {
    await app.stop();
    throw error;
  }
}
