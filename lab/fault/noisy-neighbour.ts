/** Somebody else on a service's host works without a pause, and everybody there gets what is left. */
import { entityIdOf, neighbourOf, serviceOf } from "../spec.ts";
import { type Fault, needsReach, truthOfService } from "./fault.ts";

export const noisyNeighbour: Fault = {
  name: "noisy-neighbour",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["busy"],
  needs: needsReach,
  range: () => ({ unit: "cores for the host", mild: 0.4, severe: 0.2 }),
  // Who is noisy, or anybody who suffers from it directly.
  truth: (shop, target) => {
    const { host } = serviceOf(shop, target.service);
    const sufferers = shop.services.filter((service) => service.host === host);
    return [
      { type: "entity", id: entityIdOf(shop, neighbourOf(host)), kind: "noisy-neighbour" },
      ...sufferers.map(({ name }) => truthOfService(shop, { service: name, caller: null }, "noisy-neighbour")),
    ];
  },
  apply: async (control, target, { magnitude }) => control.machine().crowd(target.service, magnitude),
  undo: (control, target) => control.machine().uncrowd(target.service),
  mechanism: null,
};
