/** How many spans and log records the stored windows of a running Headwater hold, read through its API. */
import { createClient } from "../../client/client.ts";

const windowSeconds = 1;

/** A platform that is asked. */
interface Asked {
  readonly apiUrl: string;
}

/** Server spans of one service from `fromMs` on; null when it is not known. */
export function storedSpans(running: Asked, service: string, fromMs: number): Promise<number | null> {
  return storedCount(running, { entity: service, metric: "span.server.duration", attributes: "", fromMs });
}

interface Counted {
  readonly entity: string;
  readonly metric: string;
  readonly attributes: string;
  readonly fromMs: number;
}

/** Rate per second times the window's length, added up over the windows from `fromMs` on; null when there is no such series. */
export async function storedCount(running: Asked, of: Counted): Promise<number | null> {
  const client = createClient({ baseUrl: running.apiUrl });
  const { entity, metric, attributes, fromMs } = of;
  const { items } = await client.call("series", { query: { fromMs, toMs: Date.now() + 10_000, entity, metric, limit: 100 } });
  const rate = items.find((series) => series.key.statistic === "rate" && series.key.attributes === attributes);
  if (rate === undefined) return null;
  return Math.round(rate.samples.reduce((sum, sample) => sum + sample.value * windowSeconds, 0));
}
