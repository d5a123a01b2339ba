/** How commands speak: people read standard error while it runs, programs read standard output when it ends. */
export type OutputFormat = "text" | "json";

/** A progress line with the seconds since the command began. */
export class Progress {
  readonly #startedMs = Date.now();

  say(text: string): void {
    const seconds = ((Date.now() - this.#startedMs) / 1000).toFixed(1).padStart(6);
    process.stderr.write(`${seconds} s  ${text}\n`);
  }

  seconds(): number {
    return Math.round((Date.now() - this.#startedMs) / 100) / 10;
  }
}

/** One line to standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Exit codes of every command, documented in `docs/cli.md`. */
export const exitCode = { ok: 0, failed: 1, usage: 2, missing: 3 } as const;
