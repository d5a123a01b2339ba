/** Phrases that all formats share. */
import type { ReportContent } from "./content.ts";
import { percentText } from "./value-text.ts";

type Ranked = ReportContent["ranking"][number];

/** Role as shape and word, never by colour alone. */
export const roleWords: Readonly<Record<Ranked["role"], string>> = {
  cause: "■ cause",
  "critical-failure": "◆ critical failure",
  impact: "● impact",
  none: "○ none",
};

/** Said of evidence that no program told. */
export const seenByKernel = "seen by the kernel";

export function candidateText(candidate: Pick<Ranked, "type" | "kind">): string {
  return candidate.kind === null ? candidate.type : `${candidate.type}, ${candidate.kind}`;
}

/** How sure the verdict is. */
export function conclusionText(content: ReportContent): string {
  if (content.conclusion === "pending") return "No verdict yet: evidence is being gathered.";
  if (content.conclusion === "inconclusive") return "Inconclusive: nothing stands out enough to be named.";
  const sure = content.confidence === null ? "How sure that is has not been calibrated yet" : `${percentText(content.confidence)} sure`;
  return content.cause?.kind ? `Kind of fault: ${content.cause.kind}. ${sure}.` : `${sure}.`;
}

/** `15 s after onset`, `at close`. */
export function reasonText(reason: string): string {
  return reason === "close" ? "at close" : `${reason.replace("onset+", "").replace(/s$/, " s")} after onset`;
}
