/** A flag is switched on, and the path behind it fails or is slow. */
import { type Fault, insideService, needsReach, slownessRange, truthOfService } from "./fault.ts";
import { workInRounds } from "./wait.ts";

/** Thrown by the path behind the flag: it demands what no client sends. */
class ValidationError extends Error {
  override readonly name = "ValidationError";
}

export const badFlag: Fault = {
  name: "bad-flag",
  change: "flag",
  hits: "service",
  rights: "none",
  variants: ["errors", "slowness"],
  needs: needsReach,
  range: (options) =>
    options.variant === "slowness" ? slownessRange(options.entryP95Ms) : { unit: "share of requests", mild: 0.5, severe: 1 },
  truth: (shop, target, changeId) => [
    ...(changeId === null ? [] : [{ type: "change" as const, id: changeId, kind: "config" as const }]),
    truthOfService(shop, target, "config"),
  ],
  ...insideService("bad-flag"),
  mechanism: ({ magnitude, variant, random }) => {
    if (variant === "slowness") return { duringWork: () => workInRounds(magnitude * random.between(0.9, 1.15)) };
    return {
      duringWork: async () => {
        if (random.chance(magnitude)) throw new ValidationError("the field 'revision' is required");
      },
    };
  },
};
