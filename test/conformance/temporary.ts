/** Folders, counters and waiting for conditions, as all conformance suites need them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";

/** A fresh folder under the system's temporary one, and how to be rid of it. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "headwater-test-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** A fresh folder for every test of the file or of the `describe` around the call. */
export function useTemporaryFolder(): { readonly path: string } {
  let folder: Awaited<ReturnType<typeof temporaryFolder>> | null = null;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    await folder?.remove();
    folder = null;
  });
  return {
    get path() {
      if (folder === null) throw new Error("there is a folder only while a test runs");
      return folder.path;
    },
  };
}

/** What `onCounted` was called with, added up. */
export class Counts {
  readonly totals = new Map<string, number>();

  readonly onCounted = (name: string, amount: number): void => {
    this.totals.set(name, this.of(name) + amount);
  };

  of(name: string): number {
    return this.totals.get(name) ?? 0;
  }
}

/** Resolves when the condition holds; rejects with what was awaited after `deadlineMs`. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, deadlineMs = 15_000): Promise<void> {
  const endsAtMs = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > endsAtMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
