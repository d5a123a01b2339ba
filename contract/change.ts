/** Something somebody or something did (design §3): CloudEvents in, one shape inside. */
import { z } from "zod";

export const ChangeKind = z.enum(["deploy", "config", "flag", "scale", "restart", "security", "binary", "dependency"]);
export type ChangeKind = z.infer<typeof ChangeKind>;

/** CloudEvents `type` is `headwater.change.<kind>`; `source` any URI; `subject` the entity id; `time` RFC 3339; `data` as below. */
export const changeTypePrefix = "headwater.change.";

export const ChangeData = z.object({
  summary: z.string().min(1).max(1_000),
  actor: z.string().max(200).nullable().default(null),
  /** A command that undoes it, shown to people, never run. */
  undo: z.string().max(1_000).nullable().default(null),
});

export const Change = z.object({
  id: z.string().min(1).max(200),
  atMs: z.number().int(),
  entity: z.string().min(1).max(512),
  kind: ChangeKind,
  summary: z.string().min(1).max(1_000),
  actor: z.string().max(200).nullable(),
  undo: z.string().max(1_000).nullable(),
});
export type Change = z.infer<typeof Change>;
