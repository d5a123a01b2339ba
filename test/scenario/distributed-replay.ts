/** Sends a recording through a distributed installation: the gateway is in this process, on an injected clock, the rest are processes. */
import { setTimeout as pause } from "node:timers/promises";
import { loadConfig } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { Queue } from "../../contract/port.ts";
import { App } from "../../services/app.ts";
import type { Recording } from "../../services/command/recording.ts";
import { createLogger, createMetrics, ManualClock } from "../../services/platform.ts";

/** Bodies between two waits for the queue to be empty: no body may overtake another by more than the settling time. */
const bodiesPerWait = 10;
const emptyWithinMs = 60_000;
const lookMs = 5;

/** Resolves when everything is in the ordered logs. Throws RECORDING_INVALID when the gateway refuses a body that it once accepted. */
export async function replayDistributed(recording: Recording, configFile: string): Promise<void> {
  const { header, bodies } = recording;
  const clock = new ManualClock(header.startedAtMs);
  const platform = { clock, logger: createLogger("warn"), metrics: createMetrics(), random: () => 0.5 };
  const app = await App.start({ config: loadConfig(configFile), platform, gatewayId: "replay", webDirectory: null, roles: ["gateway"] });
  try {
    for (const [index, body] of bodies.entries()) {
      clock.advanceTo(body.receivedAtMs);
      const { receivedAtMs, path, contentType } = body;
      const answer = await app.gateway.accept({
        method: "POST",
        path,
        headers: { "content-type": contentType },
        body: body.body,
        receivedAtMs,
      });
      if (answer.status >= 300)
        throw new HeadwaterError("RECORDING_INVALID", `body ${index} to ${path} was answered with ${answer.status}`);
      // A change is known to a verdict that is asked for after it, as it is when everything happens at its own time.
      if (path === "/v1/changes" || index % bodiesPerWait === bodiesPerWait - 1) await emptied(app.ports.queue);
    }
    await emptied(app.ports.queue);
  } finally {
    await app.stop();
  }
}

async function emptied(queue: Queue): Promise<void> {
  const deadline = Date.now() + emptyWithinMs;
  for (;;) {
    const depths = await Promise.all([queue.depth("telemetry", "ingest"), queue.depth("change", "incident")]);
    if (depths.every((depth) => depth === 0)) return;
    if (Date.now() > deadline)
      throw new HeadwaterError("QUEUE_FULL", `after a minute ${depths.join(" and ")} messages wait for their readers`);
    await pause(lookMs);
  }
}
