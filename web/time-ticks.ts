/** Round moments for a time axis, in local time. */

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const steps = [1, 2, 5, 10, 15, 30]
  .map((seconds) => seconds * second)
  .concat([1, 2, 3, 5, 10, 15, 20, 30].map((minutes) => minutes * minute))
  .concat([1, 2, 3, 6, 12, 24, 48, 168].map((hours) => hours * hour));

/** At most `ticksMax` moments of the range, evenly spaced, on whole steps of the local clock. */
export function timeTicks(fromMs: number, toMs: number, ticksMax: number): number[] {
  const length = toMs - fromMs;
  if (length <= 0) return [];
  const step = steps.find((one) => length / one <= ticksMax) ?? Math.ceil(length / ticksMax);
  const offset = new Date(fromMs).getTimezoneOffset() * minute;
  const ticks: number[] = [];
  for (let tick = Math.ceil((fromMs - offset) / step) * step + offset; tick < toMs && ticks.length < ticksMax; tick += step)
    ticks.push(tick);
  return ticks;
}
