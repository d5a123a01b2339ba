/** The lab's own operational error; it carries a code of the product's error table without importing its code. */
import type { ErrorCode } from "../contract/error.ts";

/** Something the lab needs is missing or did not start; the message names what. */
export class LabError extends Error {
  override readonly name = "LabError";
  readonly code: ErrorCode = "LAB_FAILED";
}

/** The text of anything that was thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
