/** Roles, states and impacts in words; each role has a word and a shape beside its colour. */
import type { Impact, Incident } from "../contract/incident.ts";
import type { OverviewProcess, Trouble } from "../contract/route.ts";
import type { SeriesKey } from "../contract/series.ts";
import type { RankedCandidate } from "../contract/verdict.ts";
import { formatShare } from "./format.ts";

export type CandidateRole = RankedCandidate["role"];

export const roleWord: Record<CandidateRole, string> = {
  cause: "cause",
  "critical-failure": "critical failure",
  impact: "impact",
  none: "healthy",
};

/** "storefront: 12 % of requests failing". */
export function impactSentence(impact: Impact): string {
  const effect = impact.objective === "availability" ? "failing" : "too slow";
  if (impact.badRatio === 0) return `${impact.entity}: requests are ${effect}, says an alert`;
  return `${impact.entity}: ${formatShare(impact.badRatio)} of requests ${effect}`;
}

/** Who is hurt, worst first. */
export function worstFirst(impacts: readonly Impact[]): Impact[] {
  return [...impacts].sort((left, right) => right.badRatio - left.badRatio || right.requestsPerSecond - left.requestsPerSecond);
}

/** The newest verdict's sentence, or who is hurt while there is none. */
export function headline(incident: Incident): string {
  const sentence = incident.verdicts.at(-1)?.result.sentence ?? "";
  if (sentence !== "") return sentence;
  const [worst] = worstFirst(incident.impacts);
  return worst === undefined ? "Something is wrong" : impactSentence(worst);
}

/** The string form of a series key, as in the evidence ids; a test compares it with the contract's. */
export function seriesIdOf(key: SeriesKey): string {
  return [key.entity, key.metric, key.statistic, key.attributes].map((part) => part.replaceAll("|", "_")).join("|");
}

const derivedNames: Record<string, string> = {
  "span.server.duration": "served requests",
  "span.client.duration": "calls made",
  "span.internal.duration": "internal work",
  "kernel.server.duration": "served requests, seen by the kernel",
  "kernel.client.duration": "calls made, seen by the kernel",
  "log.records": "log lines",
};
const statisticNames: Record<SeriesKey["statistic"], string> = {
  rate: "per second",
  error_ratio: "share failed",
  mean: "mean",
  p50: "median",
  p95: "p95",
  p99: "p99",
  value: "",
};

/** "served requests, p95 · operation=POST /pay". */
export function seriesName(key: Pick<SeriesKey, "metric" | "statistic" | "attributes">): string {
  const statistic = statisticNames[key.statistic];
  const name = `${derivedNames[key.metric] ?? key.metric}${statistic === "" ? "" : `, ${statistic}`}`;
  return key.attributes === "" ? name : `${name} · ${key.attributes}`;
}

export const weightWord: Record<Trouble["weight"], string> = {
  stopped: "Does not work",
  weakened: "Weakened",
  notice: "To be known",
};

/** States of processes in words, each with a shape. */
export const processWord: Record<OverviewProcess["state"], { word: string; shape: string }> = {
  ready: { word: "ready", shape: "●" },
  starting: { word: "starting", shape: "◔" },
  waiting: { word: "waiting", shape: "◑" },
  stopping: { word: "stopping", shape: "◔" },
  lost: { word: "not answering", shape: "○" },
  replaced: { word: "ended and replaced", shape: "○" },
  unknown: { word: "not known", shape: "?" },
};

/** "window 0–7, 9 · dependency 3"; empty where it works on none. */
export function partitionWords(partitions: OverviewProcess["partitions"]): string {
  const topics = Object.entries(partitions).filter(([, numbers]) => numbers.length > 0);
  return topics.map(([topic, numbers]) => `${topic} ${rangesOf(numbers)}`).join(" · ");
}

function rangesOf(numbers: readonly number[]): string {
  const ranges: { first: number; last: number }[] = [];
  for (const number of [...numbers].sort((left, right) => left - right)) {
    const range = ranges.at(-1);
    if (range !== undefined && number === range.last + 1) range.last = number;
    else ranges.push({ first: number, last: number });
  }
  return ranges.map(({ first, last }) => (first === last ? String(first) : `${first}–${last}`)).join(", ");
}
