import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { errorTable } from "../../contract/error.ts";

const text = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
const documented = [...text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (yes|no) \|/gm)].map((match) => ({
  code: match[1],
  status: Number(match[2]),
  retriable: match[3] === "yes",
}));

it("docs/errors.md lists every code of the table with its status and whether it is retriable, and no other", () => {
  const table = Object.entries(errorTable).map(([code, row]) => ({ code, status: row.status, retriable: row.retriable }));
  const byCode = (left: { code: string | undefined }, right: { code: string | undefined }): number =>
    (left.code ?? "") < (right.code ?? "") ? -1 : 1;
  expect(documented.sort(byCode)).toEqual(table.sort(byCode));
});
