/** The process ends at once and stays away until it is started again. */
import { type Fault, needsCallers, truthOfService } from "./fault.ts";

export const crash: Fault = {
  name: "crash",
  change: null,
  hits: "service",
  rights: "none",
  variants: ["killed"],
  // An entry service that is gone reports nothing that could burn; its callers would have to.
  needs: needsCallers,
  range: () => ({ unit: "processes ended", mild: 1, severe: 1 }),
  truth: (shop, target) => [truthOfService(shop, target, "crash")],
  apply: (control, target) => control.crash(target.service),
  undo: (control, target) => control.restart(target.service),
  mechanism: null,
};
