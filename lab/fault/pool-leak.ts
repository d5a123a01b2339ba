/** Connections to the database are not given back, until the pool has none left. */
import { reachOfDatabase } from "../reach.ts";
import { atLeastReachMin, type Fault, insideService, truthOfService } from "./fault.ts";

export const poolLeak: Fault = {
  name: "pool-leak",
  change: null,
  hits: "service",
  rights: "none",
  variants: ["not-released"],
  needs: (shop, target) => atLeastReachMin(reachOfDatabase(shop, target.service)),
  range: () => ({ unit: "share of requests", mild: 0.5, severe: 1 }),
  truth: (shop, target) => [truthOfService(shop, target, "datastore")],
  ...insideService("pool-leak"),
  mechanism: ({ magnitude, random }) => ({ keepsConnection: () => (random.chance(magnitude) ? "yes" : "no") }),
};
