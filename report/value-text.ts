/** Numbers with their units. */
import type { SnapshotSeries } from "../contract/evidence.ts";

/** Three significant digits. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (size < 1e-9) return "0";
  if (size >= 100) return String(Math.round(value));
  if (size < 0.01) return value.toPrecision(2);
  const digits = size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace(/\.?0+$/, "");
}

/** `12 %`, below ten with one decimal. */
export function percentText(ratio: number): string {
  const percent = ratio * 100;
  if (percent > 0 && percent < 0.1) return "less than 0.1 %";
  return `${Math.abs(percent) >= 10 ? Math.round(percent) : percent.toFixed(1).replace(/\.0$/, "")} %`;
}

/** `1.4 s`, `12.3 ms`, `80 µs`. */
export function secondsText(seconds: number): string {
  const size = Math.abs(seconds);
  if (size >= 1) return `${numberText(seconds)} s`;
  if (size >= 0.001 || size === 0) return `${numberText(seconds * 1e3)} ms`;
  return `${numberText(seconds * 1e6)} µs`;
}

function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
  let size = bytes;
  let step = 0;
  while (Math.abs(size) >= 1_024 && step < units.length - 1) {
    size /= 1_024;
    step += 1;
  }
  return `${numberText(size)} ${units[step] ?? "B"}`;
}

/** A series' value in its unit. */
export function valueText(series: Pick<SnapshotSeries, "statistic" | "unit">, value: number): string {
  if (series.statistic === "error_ratio") return percentText(value);
  if (series.unit === "s") return secondsText(value);
  if (series.unit === "ms") return secondsText(value / 1e3);
  if (series.unit === "By") return bytesText(value);
  if (series.unit === "By/s") return `${bytesText(value)}/s`;
  if (series.unit === "1/s" || (series.statistic === "rate" && series.unit === "")) return `${numberText(value)}/s`;
  if (series.unit === "1" || series.unit === "") return numberText(value);
  // A unit in braces is a remark on what is counted.
  return `${numberText(value)} ${series.unit.replace(/^\{(.*)\}$/, "$1")}`;
}

/** What a series measures: `span.server.duration p95 · operation=GET /x`. */
export function seriesText(series: Pick<SnapshotSeries, "metric" | "statistic" | "attributes">): string {
  const statistic = series.statistic === "value" ? "" : ` ${series.statistic.replaceAll("_", " ")}`;
  return `${series.metric}${statistic}${series.attributes === "" ? "" : ` · ${series.attributes}`}`;
}
