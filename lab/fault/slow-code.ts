/** The service's own code has become slow; nobody announced anything. */
import { type Fault, insideService, needsReach, slownessRange, truthOfService } from "./fault.ts";
import { workInRounds } from "./wait.ts";

export const slowCode: Fault = {
  name: "slow-code",
  change: null,
  hits: "service",
  rights: "none",
  variants: ["rounds"],
  needs: needsReach,
  range: (options) => slownessRange(options.entryP95Ms),
  truth: (shop, target) => [truthOfService(shop, target, "code-slow")],
  ...insideService("slow-code"),
  mechanism: ({ magnitude, random }) => ({ duringWork: () => workInRounds(magnitude * random.between(0.9, 1.15)) }),
};
