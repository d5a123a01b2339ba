/** `headwater rank`: ranks the causes of an incident that is in files (design §14). The truth, if a case has one, is not looked at. */
import { loadCase } from "../../graph/case/load-case.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import { type OutputFormat, print } from "./output.ts";

export interface RankOptions {
  readonly directory: string;
  readonly format: OutputFormat;
}

const rowsMax = 10;
const claimsMax = 3;

/** Throws CASE_INVALID naming file, line and column. */
export async function runRank(options: RankOptions): Promise<void> {
  const { snapshot } = await loadCase(options.directory);
  const result = rankCauses(snapshot);
  if (options.format === "json") {
    print(JSON.stringify(result));
    return;
  }
  print(result.sentence);
  print("");
  for (const [place, candidate] of result.ranking.slice(0, rowsMax).entries()) {
    print(
      `${String(place + 1).padStart(2)}. ${candidate.score.toFixed(3).padStart(7)}  ${candidate.type.padEnd(10)}  ${candidate.id}  ${candidate.kind ?? ""}`,
    );
    for (const claim of candidate.claims.slice(0, claimsMax)) print(`             ${claim.stance === "for" ? "+" : "-"} ${claim.text}`);
  }
  if (result.ranking.length > rowsMax) print(`    ${result.ranking.length - rowsMax} more with --json`);
}
