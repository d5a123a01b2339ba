/** One series with its band, drawn by uPlot; the time axis is drawn once above a group of charts (see time-axis.tsx). */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { formatTime, formatValue } from "../format.ts";
import { type ChartTheme, useChartTheme } from "./chart-theme.ts";

/** Width of the value axis, the same in every chart and in the time axis, so that moments stand above one another. */
const valueAxisWidth = 64;

export interface ChartPoints {
  readonly atMs: readonly number[];
  readonly values: readonly number[];
  readonly lower: readonly (number | null)[];
  readonly upper: readonly (number | null)[];
}

export interface ChartProps {
  /** What the chart shows, in words, for those who do not see it. */
  readonly label: string;
  readonly points: ChartPoints;
  readonly unit: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly onsetMs: number | null;
  readonly changesMs: readonly number[];
  readonly height?: number;
}

export function Chart(props: ChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const theme = useChartTheme();
  const key = JSON.stringify([props.points, props.unit, props.fromMs, props.toMs, props.onsetMs, props.changesMs]);
  // `key` is the content of all properties that are drawn: the same content is not drawn again.
  useEffect(() => {
    const element = holder.current;
    if (element === null) return undefined;
    const plot = new uPlot(optionsOf(props, theme, Math.max(120, element.clientWidth)), dataOf(props.points), element);
    const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(120, element.clientWidth), height: plot.height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [key, theme]);
  return <div class="chart" ref={holder} role="img" aria-label={`${props.label}. ${describe(props)}`} />;
}

function dataOf(points: ChartPoints): uPlot.AlignedData {
  return [[...points.atMs], [...points.upper], [...points.lower], [...points.values]];
}

/** "From 4 ms to 1.9 s; normal up to 5 ms." */
function describe(props: ChartProps): string {
  const { values, upper } = props.points;
  const last = values.at(-1);
  if (last === undefined) return "No samples.";
  const normal = upper.findLast((value) => value !== null);
  const limit = normal === undefined || normal === null ? "" : `; normal up to ${formatValue(normal, props.unit)}`;
  return `Between ${formatValue(Math.min(...values), props.unit)} and ${formatValue(Math.max(...values), props.unit)}, last ${formatValue(last, props.unit)}${limit}.`;
}

function optionsOf(props: ChartProps, theme: ChartTheme, width: number): uPlot.Options {
  const readout = document.createElement("div");
  readout.className = "readout";
  return {
    width,
    height: props.height ?? 84,
    ms: 1,
    pxAlign: 0,
    padding: [6, 8, 4, 0],
    legend: { show: false },
    cursor: { sync: { key: "headwater" }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
    scales: { x: { time: true, range: [props.fromMs, props.toMs] }, y: { range: valueRange } },
    axes: [
      { show: false },
      {
        size: valueAxisWidth,
        stroke: theme.soft,
        font: `11px ${fontOf()}`,
        grid: { stroke: theme.line, width: 1 / devicePixelRatio },
        ticks: { show: false },
        space: 26,
        values: (_plot, splits) => splits.map((value) => formatValue(value, props.unit)),
      },
    ],
    bands: [{ series: [1, 2], fill: theme.band }],
    series: [
      {},
      { stroke: "transparent", width: 0, points: { show: false } },
      { stroke: "transparent", width: 0, points: { show: false } },
      { stroke: theme.text, width: 1.5, points: { show: false } },
    ],
    hooks: {
      ready: [(plot) => plot.over.append(readout)],
      draw: [(plot) => drawMoments(plot, props, theme)],
      setCursor: [(plot) => showValue(plot, readout, props.unit)],
    },
  };
}

/** Time and value under the cursor, in the corner of each chart of the group. */
function showValue(plot: uPlot, readout: HTMLElement, unit: string): void {
  const index = plot.cursor.idx ?? null;
  const atMs = index === null ? undefined : plot.data[0][index];
  const value = index === null ? undefined : plot.data[3]?.[index];
  readout.textContent =
    atMs === undefined || value === undefined || value === null ? "" : `${formatTime(atMs, Date.now())}  ${formatValue(value, unit)}`;
}

function fontOf(): string {
  return getComputedStyle(document.body).fontFamily;
}

/** A flat series gets room around it, and a value that is never negative no axis below zero. */
function valueRange(_plot: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null) return [0, 1];
  const spread = max - min || Math.abs(max) || 1;
  const low = min - spread * 0.08;
  return [min >= 0 && low < 0 ? 0 : low, max + spread * 0.08];
}

/** The onset, one line through every chart; changes as thin dashes. */
function drawMoments(plot: uPlot, props: ChartProps, theme: ChartTheme): void {
  const { ctx, bbox } = plot;
  const line = (atMs: number, stroke: string, width: number, dash: number[]): void => {
    if (atMs < props.fromMs || atMs > props.toMs) return;
    const x = plot.valToPos(atMs, "x", true);
    ctx.beginPath();
    ctx.setLineDash(dash);
    ctx.strokeStyle = stroke;
    ctx.lineWidth = width * devicePixelRatio;
    ctx.moveTo(x, bbox.top - 6 * devicePixelRatio);
    ctx.lineTo(x, bbox.top + bbox.height + 4 * devicePixelRatio);
    ctx.stroke();
  };
  ctx.save();
  for (const atMs of props.changesMs) line(atMs, theme.soft, 1, [3 * devicePixelRatio, 3 * devicePixelRatio]);
  if (props.onsetMs !== null) line(props.onsetMs, theme.cause, 1.5, []);
  ctx.restore();
}
