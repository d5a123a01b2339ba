/** The disk of a service that writes before it answers takes a few kilobytes a second. */
import { serviceOf } from "../spec.ts";
import { type Fault, needsReach, truthOfService } from "./fault.ts";

export const diskThrottle: Fault = {
  name: "disk-throttle",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["writes"],
  needs: (shop, target) => (serviceOf(shop, target.service).journal === "kept" ? needsReach(shop, target) : null),
  range: () => ({ unit: "bytes a second", mild: 16_384, severe: 6_144 }),
  truth: (shop, target) => [truthOfService(shop, target, "disk")],
  apply: async (control, target, { magnitude }) => control.machine().limitWrites(target.service, magnitude),
  undo: async (control, target) => control.machine().limitWrites(target.service, null),
  mechanism: null,
};
