/** Numbers with their unit, and times: absolute first, the relative one beside, UTC on hover. */

/** "1.90 s", "35 ms", "12 %", "310 MB", "6.5 /s". The unit is always there. */
export function formatValue(value: number, unit: string): string {
  if (unit === "s") return formatSeconds(value);
  if (unit === "ms") return formatSeconds(value / 1_000);
  if (unit === "By") return formatBytes(value);
  if (unit === "1") return formatShare(value);
  const suffix = unit === "1/s" ? "/s" : unit.replace(/^\{(.*)\}$/, "$1");
  return suffix === "" ? formatNumber(value) : `${formatNumber(value)} ${suffix}`;
}

/** Three significant figures, large ones with a letter. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${significant(value / 1e9)} G`;
  if (size >= 1e6) return `${significant(value / 1e6)} M`;
  if (size >= 1e4) return `${significant(value / 1e3)} k`;
  return significant(value);
}

export function formatSeconds(seconds: number): string {
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${significant(seconds * 1e6)} µs`;
  if (size < 1) return `${significant(seconds * 1e3)} ms`;
  return `${significant(seconds)} s`;
}

function formatBytes(bytes: number): string {
  const size = Math.abs(bytes);
  if (size >= 1e9) return `${significant(bytes / 1e9)} GB`;
  if (size >= 1e6) return `${significant(bytes / 1e6)} MB`;
  if (size >= 1e3) return `${significant(bytes / 1e3)} kB`;
  return `${significant(bytes)} B`;
}

/** A share of 1 in percent. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent > 0 && percent < 0.1) return "< 0.1 %";
  if (percent !== 0 && Math.abs(percent) < 10) return `${Number(percent.toFixed(1))} %`;
  return `${Math.round(percent)} %`;
}

function significant(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return String(Math.round(value));
  if (size >= 10) return String(Number(value.toFixed(1)));
  if (size >= 1) return String(Number(value.toFixed(2)));
  return String(Number(value.toPrecision(2)));
}

/** "12:50:10" today, "24 Nov 12:50:10" on another day, in local time. */
export function formatTime(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
  return at.toDateString() === new Date(nowMs).toDateString() ? clock : `${at.getDate()} ${months[at.getMonth()]} ${clock}`;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "6 min ago", "in 10 min", "just now". */
export function formatRelative(atMs: number, nowMs: number): string {
  const distance = nowMs - atMs;
  if (Math.abs(distance) < 2_000) return "just now";
  const length = formatLength(Math.abs(distance));
  return distance > 0 ? `${length} ago` : `in ${length}`;
}

/** "8 s", "6 min", "3 h", "2 d". */
export function formatLength(lengthMs: number): string {
  if (lengthMs < 120_000) return `${Math.round(lengthMs / 1_000)} s`;
  if (lengthMs < 7_200_000) return `${Math.round(lengthMs / 60_000)} min`;
  if (lengthMs < 172_800_000) return `${Math.round(lengthMs / 3_600_000)} h`;
  return `${Math.round(lengthMs / 86_400_000)} d`;
}

/** "1 service", "3 services". */
export function countOf(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
