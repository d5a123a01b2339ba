/** Numbers with their units as people read them; written by hand because `Intl` differs between Node versions. */
import type { SnapshotSeries } from "../contract/evidence.ts";
import { secondsPer } from "./scale-floor.ts";

/** Three significant digits, without exponents for sizes people meet. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (size === 0 || size < 1e-6) return "0";
  if (size >= 100) return String(Math.round(value));
  if (size >= 10) return trimmed(value.toFixed(1));
  if (size >= 1) return trimmed(value.toFixed(2));
  if (size >= 0.01) return trimmed(value.toFixed(3));
  return trimmed(value.toFixed(6));
}

function trimmed(text: string): string {
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

/** `12.3 ms`, `1.4 s`, `80 µs`. */
export function secondsText(seconds: number): string {
  const size = Math.abs(seconds);
  if (size >= 1) return `${numberText(seconds)} s`;
  if (size >= 0.001 || size === 0) return `${numberText(seconds * 1e3)} ms`;
  return `${numberText(seconds * 1e6)} µs`;
}

export function nsText(ns: number): string {
  return secondsText(ns / 1e9);
}

/** `38 %`, one decimal below ten. */
export function percentText(ratio: number): string {
  const percent = ratio * 100;
  return `${Math.abs(percent) >= 10 ? String(Math.round(percent)) : trimmed(percent.toFixed(1))} %`;
}

const binary = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

function bytesText(bytes: number): string {
  let size = bytes;
  let step = 0;
  while (Math.abs(size) >= 1_024 && step < binary.length - 1) {
    size /= 1_024;
    step += 1;
  }
  return `${numberText(size)} ${binary[step] ?? "B"}`;
}

/** A series' value in its own unit. */
export function valueText(series: Pick<SnapshotSeries, "statistic" | "unit" | "kind">, value: number): string {
  if (series.statistic === "error_ratio") return percentText(value);
  if (series.statistic === "rate") return `${numberText(value)}/s`;
  const perUnit = secondsPer(series.unit);
  if (perUnit !== null) return secondsText(value * perUnit);
  if (series.unit === "By") return bytesText(value);
  if (series.unit === "1" || series.unit === "") return numberText(value);
  const unit = series.unit.replace(/^\{(.*)\}$/, "$1");
  return `${numberText(value)} ${unit}`;
}

/** `process.cpu.utilization` or `span.server.duration p95 (operation=GET /x)`. */
export function seriesText(series: Pick<SnapshotSeries, "metric" | "statistic" | "attributes">): string {
  const statistic = series.statistic === "value" ? "" : ` ${series.statistic.replace("_", " ")}`;
  return `${series.metric}${statistic}${series.attributes === "" ? "" : ` (${series.attributes})`}`;
}
