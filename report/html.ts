/** The report as one HTML file: no network, no script, light and dark, 360 px and paper. */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import { chartAxis, chartRange, chartSvg } from "./chart.ts";
import type { ReportClaim, ReportContent } from "./content.ts";
import { cameLines } from "./how-it-came.ts";
import { candidateText, conclusionText, reasonText, roleWords, seenByKernel } from "./phrases.ts";
import { htmlText } from "./text.ts";
import { clockText, durationText, relativeText, timeText } from "./time-text.ts";
import { numberText, seriesText } from "./value-text.ts";

const style = `:root{color-scheme:light dark;--text:#1b1f24;--soft:#57606a;--back:#fff;--line:#d0d7de;--tint:#8c959f33;--cause:#b3261e;--critical:#8a5100;--impact:#0b57d0}
@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--soft:#a2abb5;--back:#14171a;--line:#3a4149;--tint:#8c959f40;--cause:#ff8a80;--critical:#f2b35c;--impact:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .5rem}
h2{font-size:1.1rem;margin:2rem 0 .5rem;padding-top:.5rem;border-top:1px solid var(--line)}
h1,h2,p,li,td,dd,code{overflow-wrap:anywhere}
p{margin:.25rem 0}
.soft,small{color:var(--soft)}
.hurt{font-size:1.1rem}
ul,ol{padding-left:1.25rem;margin:.5rem 0}
li{margin:.35rem 0}
li ul{margin:.15rem 0}
code{font:.875em/1.4 ui-monospace,monospace;background:var(--tint);padding:.1em .3em;border-radius:3px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:1rem 0}
dt{color:var(--soft)}
dd{margin:0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500;white-space:nowrap}
.number{text-align:right}
td.number,td.role{white-space:nowrap}
td.role{font-size:.875rem}
td:last-child,th:last-child{padding-right:0}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
figure{margin:0;break-inside:avoid;min-width:0}
figcaption{font-size:.875rem;line-height:1.35;margin-bottom:.25rem;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:9px system-ui,sans-serif}
polyline{fill:none;stroke:var(--text);stroke-width:1.5;stroke-linejoin:round}
.base{stroke:var(--line);fill:none}
.onset{stroke:var(--text);stroke-dasharray:4 3;fill:none}
.tint{fill:var(--tint)}
.change{fill:var(--text)}
.cause{color:var(--cause)}.critical-failure{color:var(--critical)}.impact{color:var(--impact)}.none{color:var(--soft)}
.timeline{list-style:none;padding:0}
.timeline time{color:var(--soft);display:block}
@media(min-width:40rem){.timeline li{display:grid;grid-template-columns:18rem 1fr}}
.inputs code{background:none;padding:0}
@media print{:root{color-scheme:light;--text:#000;--soft:#444;--back:#fff;--line:#bbb;--cause:#b3261e;--critical:#8a5100;--impact:#0b57d0}main{max-width:none;padding:0}h2{break-after:avoid}}`;

export function reportHtml(content: ReportContent, snapshot: EvidenceSnapshot | null): string {
  const sections = [
    header(content),
    section("Why", evidence(content.evidence, content)),
    section("Charts", charts(content, snapshot)),
    section("Against", evidence(content.counterEvidence, content)),
    section("What changed", changes(content)),
    section("What to do", steps(content)),
    section("Ranking", ranking(content)),
    section("Timeline", timeline(content)),
    section("Blind spots", blindSpots(content)),
    section("Verdicts", verdicts(content)),
    section("How it came", howItCame(content)),
    inputs(content),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>${htmlText(`${content.title}: ${content.sentence}`)}</title>
<style>${style}</style>
</head>
<body>
<main>
${sections.filter((part) => part !== "").join("\n")}
</main>
</body>
</html>
`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `<section>\n<h2>${title}</h2>\n${body}\n</section>`;
}

function moment(atMs: number, onsetMs: number): string {
  return `${timeText(atMs)} <span class="soft">(${relativeText(atMs, onsetMs)})</span>`;
}

function header(content: ReportContent): string {
  const { onsetMs, resolvedMs } = content;
  const lasted = resolvedMs === null ? "" : `<dt>Lasted</dt><dd>${durationText(resolvedMs - onsetMs)}</dd>`;
  const acknowledged =
    content.acknowledgedMs === null
      ? ""
      : `<dt>Acknowledged</dt><dd>${moment(content.acknowledgedMs, onsetMs)}, by ${htmlText(content.acknowledgedBy ?? "somebody")}</dd>`;
  return `<header>
<p class="soft">${content.title} · ${content.severity} · ${content.status}</p>
<h1>${htmlText(content.sentence)}</h1>
${content.hurt.map((hurt) => `<p class="hurt">${htmlText(hurt)}</p>`).join("\n")}
<p class="soft">${htmlText(conclusionText(content))}</p>
<dl>
<dt>Onset</dt><dd>${timeText(onsetMs)}</dd>
<dt>Opened</dt><dd>${moment(content.openedMs, onsetMs)}</dd>
${acknowledged}${resolvedMs === null ? "" : `<dt>Resolved</dt><dd>${moment(resolvedMs, onsetMs)}</dd>`}${lasted}
</dl>
</header>`;
}

function evidence(claims: readonly ReportClaim[], content: ReportContent): string {
  if (claims.length === 0) return "";
  const items = claims.map(({ text, onsetMs, refs, source }) => {
    const seen = source === "kernel" ? ` <span class="soft">${seenByKernel}</span>` : "";
    const since =
      onsetMs === null ? "" : ` <span class="soft">since ${clockText(onsetMs)} (${relativeText(onsetMs, content.onsetMs)})</span>`;
    const from = refs.length === 0 ? "" : `\n<ul>${refs.map((ref) => `<li><small>${htmlText(ref.text)}</small></li>`).join("")}</ul>`;
    return `<li>${htmlText(text)}${since}${seen}${from}</li>`;
  });
  return `<ul>\n${items.join("\n")}\n</ul>`;
}

function charts(content: ReportContent, snapshot: EvidenceSnapshot | null): string {
  if (snapshot === null || content.charts.length === 0) return "";
  const changed = content.changes.map(({ atMs, kind, entity, summary }) => ({ atMs, label: `${kind} of ${entity}: ${summary}` }));
  const { normal, fault, windowMs } = snapshot;
  const axis = chartAxis({ normal, fault, windowMs, onsetMs: content.onsetMs, changes: changed });
  const figures = content.charts.map((series) => {
    const caption = `<strong>${htmlText(series.entity)}</strong> ${htmlText(seriesText(series))}<br><small>${htmlText(chartRange(series, axis))}</small>`;
    return `<figure><figcaption>${caption}</figcaption>${chartSvg(series, axis)}</figure>`;
  });
  return `<p class="soft">Dashed line: onset. Grey: the usual range. ▲: a change.</p>\n<div class="charts">\n${figures.join("\n")}\n</div>`;
}

function changes(content: ReportContent): string {
  if (content.changes.length === 0) return "<p>Nothing that was announced, in the half hour before the onset.</p>";
  const items = content.changes.map(({ atMs, kind, entity, summary, actor, undo, rank }) => {
    const who = actor === null ? "" : ` by ${htmlText(actor)}`;
    const place = rank === null ? "not in the ranking" : `place ${rank} of the ranking`;
    const back = undo === null ? "" : `<br><small>undo: <code>${htmlText(undo)}</code></small>`;
    return `<li>▲ ${kind} of <strong>${htmlText(entity)}</strong>: ${htmlText(summary)}${who}<br><small>${moment(atMs, content.onsetMs)}, ${place}</small>${back}</li>`;
  });
  return `<ul>\n${items.join("\n")}\n</ul>`;
}

function steps(content: ReportContent): string {
  const items = content.steps.map(({ text, command }) => {
    return `<li>${htmlText(text)}${command === null ? "" : `<br><code>${htmlText(command)}</code>`}</li>`;
  });
  return items.length === 0 ? "" : `<ol>\n${items.join("\n")}\n</ol>`;
}

function ranking(content: ReportContent): string {
  if (content.ranking.length === 0) return "<p>No verdict yet.</p>";
  const rows = content.ranking.map((candidate) => {
    const since =
      candidate.onsetMs === null ? "" : `, since ${clockText(candidate.onsetMs)} (${relativeText(candidate.onsetMs, content.onsetMs)})`;
    const details = `<br><small>${htmlText(candidateText(candidate))}${since}</small>`;
    return `<tr><td class="number">${candidate.rank}</td><td>${htmlText(candidate.label)}${details}</td><td class="role ${candidate.role}">${roleWords[candidate.role]}</td><td class="number">${numberText(candidate.score)}</td></tr>`;
  });
  return `<table>\n<thead><tr><th class="number">#</th><th>Candidate</th><th>Role</th><th class="number">Score</th></tr></thead>\n<tbody>\n${rows.join("\n")}\n</tbody>\n</table>`;
}

function timeline(content: ReportContent): string {
  const items = content.timeline.map(({ atMs, actor, text }) => {
    const by = actor === null || text.includes(actor) ? "" : ` <span class="soft">(${htmlText(actor)})</span>`;
    return `<li><time>${clockText(atMs)}, ${relativeText(atMs, content.onsetMs)}</time><span>${htmlText(text)}${by}</span></li>`;
  });
  return `<p class="soft">Times are UTC.</p>\n<ul class="timeline">\n${items.join("\n")}\n</ul>`;
}

function blindSpots(content: ReportContent): string {
  const items = content.blindSpots.map(({ what, cost, command }) => {
    return `<li>${htmlText(what)}: ${htmlText(cost)}<br><small>removed by: <code>${htmlText(command)}</code></small></li>`;
  });
  return items.length === 0 ? "" : `<ul>\n${items.join("\n")}\n</ul>`;
}

function verdicts(content: ReportContent): string {
  const items = content.verdicts.map(({ version, reason, first }) => {
    return `<li>Version ${version}, ${reasonText(reason)}: ${first === null ? "inconclusive" : htmlText(first)}</li>`;
  });
  return items.length === 0 ? "" : `<ul>\n${items.join("\n")}\n</ul>`;
}

function howItCame(content: ReportContent): string {
  const items = cameLines(content.operational).map(({ title, text }) => `<dt>${htmlText(title)}</dt><dd>${htmlText(text)}</dd>`);
  return items.length === 0 ? "" : `<dl>\n${items.join("\n")}\n</dl>`;
}

function inputs(content: ReportContent): string {
  const { generatedFrom, hash, snapshotHash, verdict } = content.inputs;
  const looked =
    content.normal === null || content.fault === null
      ? ""
      : `Normal ${timeText(content.normal.fromMs)} to ${timeText(content.normal.toMs)}, fault ${timeText(content.fault.fromMs)} to ${timeText(content.fault.toMs)}.<br>`;
  return `<footer class="inputs soft"><h2>Made from</h2>
<p><small>${looked}Source <code>${htmlText(generatedFrom)}</code>, inputs <code>${hash}</code>, evidence <code>${snapshotHash ?? "none"}</code>, verdict <code>${verdict ?? "none"}</code></small></p></footer>`;
}
