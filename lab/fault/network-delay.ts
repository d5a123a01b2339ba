/** The network of one service delays what passes, whoever calls it. */
import { type Fault, needsCallers, slownessRange, truthOfNetwork } from "./fault.ts";

export const networkDelay: Fault = {
  name: "network-delay",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["delayed"],
  needs: needsCallers,
  range: (options) => slownessRange(options.entryP95Ms),
  truth: truthOfNetwork,
  apply: (control, target, { magnitude }) => control.delayService(target.service, magnitude),
  undo: (control, target) => control.delayService(target.service, 0),
  mechanism: null,
};
