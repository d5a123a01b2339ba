/** Cases in our own format: one folder a case (design §14). */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { compareCodeUnits } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { loadCase } from "../../graph/case/load-case.ts";
import type { BenchCase, Split } from "../case-list.ts";

/** Every sub-folder is a case; those without truth are left out, because nothing can be counted. They have no split. */
export async function* loadCaseFolders(options: { directory: string; split: Split }): AsyncGenerator<BenchCase> {
  const entries = await readdir(options.directory, { withFileTypes: true }).catch((cause: unknown) => {
    throw new HeadwaterError("CASE_INVALID", `${options.directory} is not a folder of cases`, { cause });
  });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  for (const name of names.sort(compareCodeUnits)) {
    const loaded = await loadCase(join(options.directory, name));
    if (loaded.truth === null || loaded.truth.length === 0) continue;
    const kinds = [...new Set(loaded.truth.flatMap((item) => (item.kind === null ? [] : [item.kind])))].sort(compareCodeUnits);
    yield { id: loaded.id, system: loaded.system, faultType: kinds.join("+") || "unknown", snapshot: loaded.snapshot, truth: loaded.truth };
  }
}
