/** `bench ranking`: the ranker and its yardsticks on labelled cases, per system and fault type (design §15). */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { HeadwaterError } from "../contract/error.ts";
import { foldOf, type RankedTruth, rankTruth, type ScoredCandidate, type TruthItem } from "../graph/case/score.ts";
import { rankCauses } from "../graph/rank-causes.ts";
import type { BenchCase, CaseLoader, Split } from "./case-list.ts";
import { type Figures, figuresOf, figuresOfRandom, percentCell, tableText } from "./figures.ts";
import { loadCaseFolders } from "./loader/case-folders.ts";
import { loadPetshop } from "./loader/petshop.ts";
import { peers, type RandomChance, randomChance, rankOfPeer } from "./peers.ts";

const formats: Readonly<Record<string, CaseLoader>> = { case: loadCaseFolders, petshop: loadPetshop };
const splits: readonly string[] = ["train", "test", "all"];

/** How `ranking` is called. */
export const rankingUsage = `ranking --format ${Object.keys(formats).join("|")} --data DIR [--split ${splits.join("|")}] [--json FILE]`;

interface MeasuredCase extends RankedTruth {
  readonly id: string;
  readonly system: string;
  readonly faultType: string;
  readonly truth: readonly TruthItem[];
  readonly ranking: readonly ScoredCandidate[];
  readonly confidence: number | null;
  readonly ms: number;
  readonly peers: ReadonlyMap<string, RankedTruth>;
  readonly chance: RandomChance;
}

interface Options {
  readonly format: string;
  readonly data: string;
  readonly split: Split;
  readonly json: string | null;
}

/** Runs the benchmark, prints its tables through `write`, writes the JSON file where one is asked for. */
export async function benchRanking(args: readonly string[], write: (text: string) => void): Promise<void> {
  const options = optionsOf(args);
  const loader = formats[options.format];
  if (loader === undefined) throw invalid(`--format must be one of ${Object.keys(formats).join(", ")}`);
  const cases: MeasuredCase[] = [];
  for await (const one of loader({ directory: options.data, split: options.split })) cases.push(measure(one));
  if (cases.length === 0) throw new HeadwaterError("CASE_INVALID", `${options.data} holds no case with a known truth`);
  write(`${reportText(cases)}\n`);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(jsonOf(cases), null, 2)}\n`);
}

function invalid(message: string): HeadwaterError {
  return new HeadwaterError("REQUEST_INVALID", `${message}\nusage: ${rankingUsage}`);
}

function optionsOf(args: readonly string[]): Options {
  const settings = { format: { type: "string" }, data: { type: "string" }, split: { type: "string" }, json: { type: "string" } } as const;
  let values: { format?: string; data?: string; split?: string; json?: string };
  try {
    values = parseArgs({ args: [...args], options: settings, strict: true }).values;
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause));
  }
  const { format, data, split = "all", json = null } = values;
  if (format === undefined || data === undefined) throw invalid("--format and --data are needed");
  if (split !== "train" && split !== "test" && split !== "all") throw invalid(`--split must be one of ${splits.join(", ")}`);
  return { format, data, split, json };
}

function measure(one: BenchCase): MeasuredCase {
  const fold = foldOf(one.snapshot);
  const startedMs = performance.now();
  const result = rankCauses(one.snapshot);
  const ms = performance.now() - startedMs;
  const ranking = result.ranking.map(({ type, id, score, kind }) => ({ type, id, score, kind }));
  return {
    id: one.id,
    system: one.system,
    faultType: one.faultType,
    truth: one.truth,
    ranking,
    confidence: result.confidence,
    ms,
    ...rankTruth(ranking, one.truth, fold),
    peers: new Map(peers.map((peer) => [peer.name, rankOfPeer(peer.rank, one.snapshot, one.truth, fold)])),
    chance: randomChance(one.snapshot, one.truth, fold),
  };
}

const ours = "Headwater";

function methodsOf(cases: readonly MeasuredCase[]): { name: string; figures: Figures }[] {
  const none: RankedTruth = { rankStrict: Number.MAX_SAFE_INTEGER, rankPessimistic: Number.MAX_SAFE_INTEGER, hit: 0 };
  return [
    { name: ours, figures: figuresOf(cases) },
    ...peers.map((peer) => ({ name: peer.name, figures: figuresOf(cases.map((one) => one.peers.get(peer.name) ?? none)) })),
    { name: "random (expected)", figures: figuresOfRandom(cases.map((one) => one.chance)) },
  ];
}

/** The whole, then each system with each fault type. */
function groupsOf(cases: readonly MeasuredCase[]): { name: string; cases: MeasuredCase[] }[] {
  const groups = new Map<string, MeasuredCase[]>();
  for (const one of cases) {
    const name = `${one.system} / ${one.faultType}`;
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  return [{ name: "all", cases: [...cases] }, ...[...groups].map(([name, list]) => ({ name, cases: list }))];
}

function reportText(cases: readonly MeasuredCase[]): string {
  const header = ["", "top-1 %", "top-3 %", "Avg@5 %", "MRR %", "top-1 % ties against", "top-3 % ties against", "MRR % ties against"];
  const tables = groupsOf(cases).map((group) => {
    const rows = methodsOf(group.cases).map(({ name, figures: { strict, pessimistic } }) => [
      name,
      ...[strict.top1, strict.top3, strict.averageAt5, strict.reciprocal].map(percentCell),
      ...[pessimistic.top1, pessimistic.top3, pessimistic.reciprocal].map(percentCell),
    ]);
    return `${group.name}: ${group.cases.length} cases, 95 % intervals\n${tableText([header, ...rows])}`;
  });
  const perCase = tableText([
    ["case", "rank", "ties against", "ms", ...peers.map((peer) => peer.name), "first", "truth"],
    ...cases.map((one) => [
      one.id,
      String(one.rankStrict),
      String(one.rankPessimistic),
      one.ms.toFixed(1),
      ...peers.map((peer) => {
        const rank = one.peers.get(peer.name);
        return `${rank?.rankStrict ?? "-"}/${rank?.rankPessimistic ?? "-"}`;
      }),
      one.ranking[0]?.id ?? "-",
      one.truth[0]?.id ?? "-",
    ]),
  ]);
  const times = cases.map((one) => one.ms).sort((left, right) => left - right);
  const middle = times[Math.floor(times.length / 2)] ?? 0;
  return `${tables.join("\n\n")}\n\nper case (rank in the printed list / with ties against it)\n${perCase}\n\nms per case: median ${middle.toFixed(1)}, most ${(times.at(-1) ?? 0).toFixed(1)}`;
}

interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick: number | null;
  readonly ratio: number | null;
  readonly goal: number | null;
  readonly met: boolean | null;
}

/** Ours against the best of the peers, per group; no goal is set yet. */
function rowsOf(cases: readonly MeasuredCase[]): Row[] {
  return groupsOf(cases).flatMap((group) => {
    const [own, ...others] = methodsOf(group.cases);
    if (own === undefined) return [];
    const row = (name: string, of: (figures: Figures) => number): Row => {
      const value = of(own.figures);
      const yardstick = Math.max(...others.map((other) => of(other.figures)));
      return {
        name: `${group.name}: ${name}`,
        value,
        unit: "share",
        yardstick,
        ratio: yardstick > 0 ? value / yardstick : null,
        goal: null,
        met: null,
      };
    };
    return [
      row("top-1", (figures) => figures.strict.top1.value),
      row("top-3", (figures) => figures.strict.top3.value),
      row("Avg@5", (figures) => figures.strict.averageAt5.value),
      row("MRR", (figures) => figures.strict.reciprocal.value),
      row("top-1, ties against", (figures) => figures.pessimistic.top1.value),
      row("top-3, ties against", (figures) => figures.pessimistic.top3.value),
    ];
  });
}

function jsonOf(cases: readonly MeasuredCase[]): unknown {
  return {
    name: "ranking",
    rows: rowsOf(cases),
    methods: groupsOf(cases).map((group) => ({ group: group.name, cases: group.cases.length, methods: methodsOf(group.cases) })),
    cases: cases.map((one) => ({
      id: one.id,
      system: one.system,
      faultType: one.faultType,
      truth: one.truth,
      ranking: one.ranking,
      confidence: one.confidence,
      rankStrict: one.rankStrict,
      rankPessimistic: one.rankPessimistic,
      ms: one.ms,
      peers: Object.fromEntries(
        [...one.peers].map(([name, rank]) => [name, { rankStrict: rank.rankStrict, rankPessimistic: rank.rankPessimistic }]),
      ),
    })),
  };
}
