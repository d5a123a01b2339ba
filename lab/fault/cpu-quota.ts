/** A service gets less processor time than it needs, and stands still for the rest of each period. */
import { type Fault, needsReach, truthOfService } from "./fault.ts";

export const cpuQuota: Fault = {
  name: "cpu-quota",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["throttled"],
  needs: needsReach,
  range: () => ({ unit: "share of its processor time", mild: 0.5, severe: 0.25 }),
  truth: (shop, target) => [truthOfService(shop, target, "cpu")],
  apply: async (control, target, { magnitude }) => control.machine().limitCpu(target.service, magnitude),
  undo: async (control, target) => control.machine().limitCpu(target.service, null),
  mechanism: null,
};
