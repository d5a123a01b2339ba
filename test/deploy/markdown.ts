/** Reads what tests compare with the code out of Markdown. */

/** The cells of the first table after a heading (a whole line), without its head. Throws where there is none. */
export function tableUnder(text: string, heading: string): string[][] {
  const lines = text.split("\n");
  const start = lines.indexOf(heading);
  const first = lines.findIndex((line, index) => start >= 0 && index > start && line.startsWith("|"));
  if (first < 0) throw new Error(`no table under "${heading}"`);
  const end = lines.findIndex((line, index) => index > first && !line.startsWith("|"));
  return lines.slice(first + 2, end < 0 ? undefined : end).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}

/** The contents of the fenced blocks of a language. */
export function fencedBlocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter((block) => block[1] === language).map((block) => block[2] ?? "");
}
