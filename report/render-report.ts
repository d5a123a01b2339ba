/** An incident as files that can be sent: the same content as HTML, Markdown and JSON, with the hash of what it was made from. */
import { canonicalJson } from "../contract/canonical.ts";
import { type ReportInput, reportContent } from "./content.ts";
import { reportHtml } from "./html.ts";
import { reportMarkdown } from "./markdown.ts";

export interface Report {
  /** One self-contained file: no network, no script. */
  readonly html: string;
  readonly markdown: string;
  /** Canonical, with `schemaVersion`. */
  readonly json: string;
}

/** Pure: the same incident, events and snapshot give the same bytes. */
export function renderReport(input: ReportInput): Report {
  const content = reportContent(input);
  return {
    html: reportHtml(content, input.snapshot),
    markdown: reportMarkdown(content),
    json: `${canonicalJson(content)}\n`,
  };
}
