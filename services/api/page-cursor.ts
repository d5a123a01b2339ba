/** Cursors of paged lists: opaque to clients, and stable because they name a place in the order instead of a count. */
import { RequestInvalid } from "./problem.ts";

/** The cursor that continues after an item with this key. */
export function encodeCursor(key: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(key), "utf8").toString("base64url");
}

/** The key inside a cursor of ours, or null for the first page. Throws REQUEST_INVALID for anything else. */
export function decodeCursor(cursor: string | undefined, length: number): readonly (string | number)[] | null {
  if (cursor === undefined) return null;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Array.isArray(key) && key.length === length && key.every((part) => typeof part === "string" || Number.isFinite(part))) return key;
  } catch {
    // Falls through to the refusal: whatever it was, it is not a cursor of ours.
  }
  throw new RequestInvalid([{ path: "query.cursor", message: "is not a cursor that this API gave" }]);
}
