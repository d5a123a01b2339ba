/** Times as people read them, by arithmetic alone: a report has the same bytes on every machine (design §4). */

const dayMs = 86_400_000;

interface CivilDay {
  readonly year: number;
  readonly month: number;
  readonly day: number;
}

/** Proleptic Gregorian date of a number of days since 1970-01-01. Years are counted from March, so that leap days come last. */
function civilDay(days: number): CivilDay {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
  };
}

function padded(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}

/** `22:13:20`, UTC. */
export function clockText(atMs: number): string {
  const second = Math.floor((((atMs % dayMs) + dayMs) % dayMs) / 1_000);
  return [Math.floor(second / 3_600), Math.floor(second / 60) % 60, second % 60].map((part) => padded(part, 2)).join(":");
}

/** `2023-11-14 22:13:20 UTC`. */
export function timeText(atMs: number): string {
  const { year, month, day } = civilDay(Math.floor(atMs / dayMs));
  return `${padded(year, 4)}-${padded(month, 2)}-${padded(day, 2)} ${clockText(atMs)} UTC`;
}

/** `4 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function durationText(durationMs: number): string {
  const seconds = Math.round(Math.abs(durationMs) / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return seconds % 60 === 0 || minutes >= 10 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${Math.floor(hours / 24)} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A moment beside another: `at onset`, `15 s after onset`, `3 min before onset`. */
export function relativeText(atMs: number, onsetMs: number): string {
  const offMs = atMs - onsetMs;
  if (Math.abs(offMs) < 500) return "at onset";
  return `${durationText(offMs)} ${offMs > 0 ? "after" : "before"} onset`;
}
