/** From truth and incidents to cases, and from cases to the drill's table (design §15). */
import type { Incident } from "../../contract/incident.ts";
import { rankTruth, summariseRanks } from "../../graph/case/score.ts";
import { verdictAskedBy } from "./incident-reader.ts";
import type { Truth } from "./truth.ts";

/** An incident may open this long after a fault was undone and still be its own; its verdict then comes too late to count. */
const openLateMs = 15_000;

export interface DrillCase {
  readonly id: string;
  readonly system: string;
  readonly faultType: string;
  readonly truth: Truth["truth"];
  readonly ranking: readonly { type: "entity" | "dependency" | "change"; id: string; score: number; kind: string | null }[];
  readonly confidence: number | null;
  /** Null without an incident or without a verdict asked before the fault was undone: a miss. */
  readonly rankStrict: number | null;
  readonly rankPessimistic: number | null;
  /** From the fault's beginning to the incident's opening, and to the moment the verdict was asked for; event time. */
  readonly openedAfterMs: number | null;
  readonly askedAfterMs: number | null;
  readonly pages: number;
  readonly ms: number | null;
}

/** One case for each fault of the truth. */
export function judgeCases(system: string, truths: readonly Truth[], incidents: readonly Incident[]): DrillCase[] {
  return truths.map((truth) => judge(system, truth, incidents));
}

function judge(system: string, truth: Truth, incidents: readonly Incident[]): DrillCase {
  const toMs = truth.toMs ?? Number.MAX_SAFE_INTEGER;
  const own = incidents.filter((incident) => incident.openedMs >= truth.fromMs && incident.openedMs <= toMs + openLateMs);
  const answered = own.map((incident) => ({ incident, verdict: verdictAskedBy(incident, toMs) }));
  const best = answered.find((one) => one.verdict !== null) ?? answered[0];
  const verdict = best?.verdict ?? null;
  const ranking = (verdict?.result.ranking ?? []).map(({ type, id, score, kind }) => ({ type, id, score, kind }));
  const items = truth.truth.map(({ type, id, kind }) => ({ type, id, kind }));
  const ranks = verdict === null ? null : rankTruth(ranking, items, (id) => id);
  return {
    id: truth.id,
    system,
    faultType: truth.fault,
    truth: truth.truth,
    ranking,
    confidence: verdict?.result.confidence ?? null,
    rankStrict: ranks?.rankStrict ?? null,
    rankPessimistic: ranks?.rankPessimistic ?? null,
    openedAfterMs: best === undefined ? null : best.incident.openedMs - truth.fromMs,
    askedAfterMs: verdict === null ? null : verdict.askedForMs - truth.fromMs,
    pages: own.length,
    ms: null,
  };
}

export interface DrillRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick: null;
  readonly ratio: null;
  readonly goal: number | null;
  readonly met: boolean | null;
}

const goals = { top1: 0.8, top3: 0.93 };

/** First place and first three, for all cases and per fault type. */
export function summarise(cases: readonly DrillCase[]): DrillRow[] {
  return groups(cases).flatMap(({ name, members }) => {
    const summary = summariseRanks(members.map(strictRank));
    const row = (what: "top1" | "top3"): DrillRow => {
      const goal = name === "all" ? goals[what] : null;
      const { value } = summary[what];
      return {
        name: `${name} ${what}`,
        value,
        unit: "share",
        yardstick: null,
        ratio: null,
        goal,
        met: goal === null ? null : value >= goal,
      };
    };
    return [row("top1"), row("top3")];
  });
}

/** The table that the command prints, strict and pessimistic ranks with 95 % intervals. */
export function drillTable(cases: readonly DrillCase[]): string[] {
  const head = `${"fault".padEnd(18)} ${"cases".padStart(5)}  ${"first".padEnd(20)} ${"first three".padEnd(20)} ${"first, pessimistic".padEnd(20)} ${"opened".padStart(7)}  missed`;
  const lines = groups(cases).map(({ name, members }) => {
    const strict = summariseRanks(members.map(strictRank));
    const pessimistic = summariseRanks(members.map((one) => one.rankPessimistic ?? Number.POSITIVE_INFINITY));
    const missed = members.filter((one) => one.rankStrict === null).length;
    const opened = median(members.flatMap((one) => (one.openedAfterMs === null ? [] : [one.openedAfterMs])));
    const openedText = opened === null ? "–" : `${(opened / 1_000).toFixed(1)} s`;
    const columns = [share(strict.top1), share(strict.top3), share(pessimistic.top1)].map((text) => text.padEnd(20));
    return `${name.padEnd(18)} ${String(members.length).padStart(5)}  ${columns.join(" ")} ${openedText.padStart(7)}  ${missed}`;
  });
  return [head, ...lines];
}

function strictRank(one: DrillCase): number {
  return one.rankStrict ?? Number.POSITIVE_INFINITY;
}

function groups(cases: readonly DrillCase[]): { name: string; members: readonly DrillCase[] }[] {
  const types = [...new Set(cases.map((one) => one.faultType))].sort();
  return [...types.map((name) => ({ name, members: cases.filter((one) => one.faultType === name) })), { name: "all", members: cases }];
}

function share(estimate: { value: number; lower: number; upper: number }): string {
  const percent = (value: number): string => `${Math.round(value * 100)}`;
  return `${percent(estimate.value)} % (${percent(estimate.lower)}–${percent(estimate.upper)})`;
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}
