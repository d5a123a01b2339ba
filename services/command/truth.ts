/** What the lab did, for the scorer only: one JSON object a line, the last line of a cycle counts (see `lab/main.ts`). */
import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

const Truth = z.object({
  cycle: z.number().int(),
  id: z.string(),
  seed: z.number().int(),
  fault: z.string(),
  fromMs: z.number().int(),
  toMs: z.number().int().nullable(),
  truth: z.array(z.object({ type: z.enum(["entity", "dependency", "change"]), id: z.string(), kind: z.string() })),
});
export type Truth = z.infer<typeof Truth>;

/** The newest line of each cycle, in order of cycles. */
export function readTruth(file: string): Truth[] {
  if (!existsSync(file)) return [];
  const byCycle = new Map<number, Truth>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line.trim() === "") continue;
    const truth = Truth.parse(JSON.parse(line));
    byCycle.set(truth.cycle, truth);
  }
  return [...byCycle.values()].sort((left, right) => left.cycle - right.cycle);
}
