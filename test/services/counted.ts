/** What the counters of a platform have come to. */
import type { Platform } from "../../services/platform.ts";

/** A counter's total over all its labels; 0 when nobody has made it. */
export async function counted(platform: Platform, name: string): Promise<number> {
  const metric = await platform.metrics.registry.getSingleMetric(name)?.get();
  return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0);
}
