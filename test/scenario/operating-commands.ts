/** Runs the commands of a section of docs/operating.md as an operator would paste them. */
import { spawnSync } from "node:child_process";
import { readText } from "../deploy/deployment.ts";
import { fencedBlocks } from "../deploy/markdown.ts";

const withinMs = 120_000;

/** The shell blocks of the section with this heading, in order. Throws where there is none. */
export function commandsOf(heading: string): string[] {
  const section = readText("docs/operating.md")
    .split(/^#+ /m)
    .find((text) => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`docs/operating.md has no section "${heading}"`);
  return fencedBlocks(section, "sh");
}

/** Runs them one after another and stops at the first that fails. Throws what was printed. */
export function runCommands(commands: string, options: { directory: string; environment: Readonly<Record<string, string>> }): void {
  const { directory, environment } = options;
  const result = spawnSync("/bin/sh", ["-e", "-c", commands], {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: withinMs,
    encoding: "utf8",
  });
  if (result.status === 0) return;
  throw new Error(`the commands ended with ${result.signal ?? result.status}: ${result.stdout}${result.stderr}\n${commands}`);
}
