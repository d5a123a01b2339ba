/** Names from telemetry are text, whatever they contain. */

/** Control characters and those that turn the direction of writing: they hide what a name says. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]/g;

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text for an HTML element or a quoted attribute. */
export function htmlText(text: string): string {
  return text.replace(unprintable, "\ufffd").replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

/** Text within a line of Markdown: no markup, no link, no second line. */
export function markdownText(text: string): string {
  return text
    .replace(unprintable, "\ufffd")
    .replace(/\s+/g, " ")
    .replace(/[\\`*_[\]<>|~]/g, (character) => `\\${character}`)
    .replaceAll("&", "&amp;")
    .replaceAll("://", ":\\/\\/")
    .replaceAll("www.", "www\\.")
    .replace(/^([#+=-])/, "\\$1")
    .replace(/^(\d+)([.)])/, "$1\\$2");
}

/** A code span whose fence is longer than any within. */
export function markdownCode(text: string): string {
  const line = text.replace(unprintable, "\ufffd").replace(/\s+/g, " ");
  const longest = Math.max(0, ...(line.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return longest > 0 ? `${fence} ${line} ${fence}` : `${fence}${line}${fence}`;
}
