/** The system calls of a service, as its agent counts them: which series they are, and what each is called. */
import { processMetric } from "../contract/kernel-telemetry.ts";
import type { SeriesWithBand } from "../contract/route.ts";

/** What the API is asked for. */
export const syscallMetric = processMetric.syscalls;

export interface SyscallChart {
  /** `openat`; `other` for the calls beyond those that are told apart. */
  readonly name: string;
  readonly series: SeriesWithBand;
}

/** One chart for each call, the most frequent in the range first. */
export function syscallCharts(series: readonly SeriesWithBand[]): SyscallChart[] {
  return series
    .filter(({ key, samples }) => key.metric === syscallMetric && key.statistic === "rate" && samples.length > 0)
    .map((one) => ({ name: callOf(one.key.attributes), series: one, calls: one.samples.reduce((sum, { value }) => sum + value, 0) }))
    .sort((left, right) => right.calls - left.calls || (left.name < right.name ? -1 : 1))
    .map(({ name, series: one }) => ({ name, series: one }));
}

/** Attributes are `key=value,key=value`; without the call they are of all calls. */
function callOf(attributes: string): string {
  return /(?:^|,)syscall=([^,]*)/.exec(attributes)?.[1] ?? "all";
}
