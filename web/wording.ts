/** Roles, states and impacts in words; each role has a word and a shape beside its colour. */
import type { Impact, Incident } from "../contract/incident.ts";
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
