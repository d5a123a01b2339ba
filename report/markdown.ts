/** The report as Markdown: the same content, for tickets and chats. */
import type { ReportClaim, ReportContent } from "./content.ts";
import { cameLines } from "./how-it-came.ts";
import { candidateText, conclusionText, reasonText, roleWords, seenByKernel } from "./phrases.ts";
import { markdownCode, markdownText } from "./text.ts";
import { clockText, durationText, relativeText, timeText } from "./time-text.ts";
import { numberText } from "./value-text.ts";

export function reportMarkdown(content: ReportContent): string {
  const sections = [
    header(content),
    section("Why", claims(content.evidence, content)),
    section("Against", claims(content.counterEvidence, content)),
    section("What changed", changes(content)),
    section("What to do", steps(content)),
    section("Ranking", ranking(content)),
    section("Timeline", timeline(content)),
    section(
      "Blind spots",
      content.blindSpots.map(({ what, cost, command }) => `- ${markdownText(`${what}: ${cost}`)}; removed by ${markdownCode(command)}`),
    ),
    section(
      "Verdicts",
      content.verdicts.map(
        ({ version, reason, first }) =>
          `- Version ${version}, ${reasonText(reason)}: ${first === null ? "inconclusive" : markdownText(first)}`,
      ),
    ),
    section(
      "How it came",
      cameLines(content.operational).map(({ title, text }) => `- ${markdownText(title)}: ${markdownText(text)}`),
    ),
    section("Made from", inputs(content)),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n")}\n`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, "", ...lines];
}

function moment(atMs: number, onsetMs: number): string {
  return `${timeText(atMs)} (${relativeText(atMs, onsetMs)})`;
}

function header(content: ReportContent): string[] {
  const { onsetMs, resolvedMs, acknowledgedMs, acknowledgedBy } = content;
  return [
    `# ${markdownText(content.sentence)}`,
    "",
    ...content.hurt.map((hurt) => `**${markdownText(hurt)}**  `),
    `${content.title} · ${content.severity} · ${content.status}  `,
    markdownText(conclusionText(content)),
    "",
    `- Onset: ${timeText(onsetMs)}`,
    `- Opened: ${moment(content.openedMs, onsetMs)}`,
    ...(acknowledgedMs === null
      ? []
      : [`- Acknowledged: ${moment(acknowledgedMs, onsetMs)}, by ${markdownText(acknowledgedBy ?? "somebody")}`]),
    ...(resolvedMs === null ? [] : [`- Resolved: ${moment(resolvedMs, onsetMs)}, lasted ${durationText(resolvedMs - onsetMs)}`]),
  ];
}

function claims(items: readonly ReportClaim[], content: ReportContent): string[] {
  return items.flatMap(({ text, onsetMs, refs, source }) => {
    const seen = source === "kernel" ? `, ${seenByKernel}` : "";
    const since = onsetMs === null ? "" : ` (since ${clockText(onsetMs)}, ${relativeText(onsetMs, content.onsetMs)})`;
    return [`- ${markdownText(text)}${since}${seen}`, ...refs.map((ref) => `  - ${markdownText(ref.text)}`)];
  });
}

function changes(content: ReportContent): string[] {
  if (content.changes.length === 0) return ["Nothing that was announced, in the half hour before the onset."];
  return content.changes.map(({ atMs, kind, entity, summary, actor, undo, rank }) => {
    const who = actor === null ? "" : ` by ${markdownText(actor)}`;
    const place = rank === null ? "not in the ranking" : `place ${rank} of the ranking`;
    const back = undo === null ? "" : `; undo: ${markdownCode(undo)}`;
    return `- ${kind} of ${markdownText(entity)}: ${markdownText(summary)}${who}, ${moment(atMs, content.onsetMs)}, ${place}${back}`;
  });
}

function steps(content: ReportContent): string[] {
  return content.steps.map(
    ({ text, command }, index) => `${index + 1}. ${markdownText(text)}${command === null ? "" : ` ${markdownCode(command)}`}`,
  );
}

function ranking(content: ReportContent): string[] {
  if (content.ranking.length === 0) return ["No verdict yet."];
  const rows = content.ranking.map((candidate) => {
    const since = candidate.onsetMs === null ? "" : `${clockText(candidate.onsetMs)} (${relativeText(candidate.onsetMs, content.onsetMs)})`;
    return `| ${candidate.rank} | ${markdownText(candidate.label)} | ${candidateText(candidate)} | ${roleWords[candidate.role]} | ${since} | ${numberText(candidate.score)} |`;
  });
  return ["| # | Candidate | Kind | Role | Since | Score |", "|--:|---|---|---|---|--:|", ...rows];
}

function timeline(content: ReportContent): string[] {
  return content.timeline.map(({ atMs, actor, text }) => {
    return `- ${moment(atMs, content.onsetMs)}: ${markdownText(text)}${actor === null || text.includes(actor) ? "" : ` (${markdownText(actor)})`}`;
  });
}

function inputs(content: ReportContent): string[] {
  const { generatedFrom, hash, snapshotHash, verdict } = content.inputs;
  return [
    `Source ${markdownCode(generatedFrom)}, inputs \`${hash}\`, evidence \`${snapshotHash ?? "none"}\`, verdict \`${verdict ?? "none"}\``,
  ];
}
