/** Where the ranker looks for what is normal and where for the fault. */
import type { Interval } from "../../contract/evidence.ts";

/** Windows between the two that belong to neither: an onset is known to a window or two. */
const guardWindows = 2;
/** How far back normal is looked for. */
const normalMs = 300_000;
const normalWindowsMin = 60;
/** How much of a long fault is looked at: what broke first shows at its beginning. */
const faultMs = 900_000;
const faultWindowsMin = 90;
/** The first windows of everything are warm-up and not normal, when enough others are there. */
const warmUpWindows = 5;
/** Normal is not cut down to fewer windows than this for the sake of being clean. */
const cleanWindowsMin = 15;

/** The fault: from its onset to the moment asked for, at least one window long. */
export function faultInterval(options: { onsetMs: number; askedForMs: number; windowMs: number }): Interval {
  const { onsetMs, askedForMs, windowMs } = options;
  const longest = Math.max(faultMs, faultWindowsMin * windowMs);
  return { fromMs: onsetMs, toMs: Math.max(onsetMs + windowMs, Math.min(askedForMs, onsetMs + longest)) };
}

/** The longest stretch before the onset that may count as normal; `normalInterval` makes it cleaner. */
export function normalRange(options: { onsetMs: number; windowMs: number }): Interval {
  const { onsetMs, windowMs } = options;
  const toMs = onsetMs - guardWindows * windowMs;
  return { fromMs: toMs - Math.max(normalMs, normalWindowsMin * windowMs), toMs };
}

/**
 * Normal: what of `range` is there (`firstSeenMs` of any telemetry), after the warm-up and after the last earlier incident, as long as
 * enough windows are left.
 */
export function normalInterval(
  range: Interval,
  options: { firstSeenMs: number | null; earlier: readonly Interval[]; windowMs: number },
): Interval {
  const { firstSeenMs, earlier, windowMs } = options;
  let fromMs = Math.min(Math.max(range.fromMs, firstSeenMs ?? range.fromMs), range.toMs - windowMs);
  const enough = (startMs: number): boolean => range.toMs - startMs >= cleanWindowsMin * windowMs;
  // Telemetry that reaches back to the beginning of the range has most likely been there before it too.
  const begunMs = firstSeenMs !== null && firstSeenMs > range.fromMs ? firstSeenMs : null;
  if (begunMs !== null && enough(begunMs + warmUpWindows * windowMs)) fromMs = begunMs + warmUpWindows * windowMs;
  for (const { toMs } of earlier) {
    if (toMs > fromMs && toMs <= range.toMs && enough(toMs)) fromMs = toMs;
  }
  return { fromMs, toMs: range.toMs };
}
