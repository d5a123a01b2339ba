/** Nobody gets a connection to a service that is well: whoever tries is refused, and whoever has one loses it. */
import { type Fault, needsCallers, truthOfNetwork } from "./fault.ts";

export const refused: Fault = {
  name: "refused",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["reset"],
  needs: needsCallers,
  range: () => ({ unit: "connections refused", mild: 1, severe: 1 }),
  truth: truthOfNetwork,
  apply: (control, target) => control.machine().refuseConnections(target.service, "yes"),
  undo: (control, target) => control.machine().refuseConnections(target.service, "no"),
  mechanism: null,
};
