/** Reads of a reason what stays the same while it lasts, so that an outage is one thing to a reader, whoever tells it and however often. */

/** `detection has waited for 4.2 s: X` → `detection waits: X`: the age moves, and is told beside. */
export function steady(reason: string): string {
  return reason.replace(/^([\w-]+) has waited for [\d.]+ s: /, "$1 waits: ");
}

/** The reason without who says it. */
export function bare(reason: string): string {
  return reason.replace(/^[\w-]+ waits: /, "").replace(/\.$/, "");
}

/** `Redis at 10.0.0.5:6379`, where the reason is that a server does not answer; null for any other. */
export function serverOf(reason: string): string | null {
  return /^(.{1,300}? at \S+) (?:cannot be reached|did not answer|has not answered)/.exec(bare(reason))?.[1] ?? null;
}
