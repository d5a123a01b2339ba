/** A share of the packets from and to a service is lost; what is lost is sent again, later each time. */
import { type Fault, needsCallers, truthOfNetwork } from "./fault.ts";

export const packetLoss: Fault = {
  name: "packet-loss",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["random"],
  needs: needsCallers,
  range: () => ({ unit: "share of packets", mild: 0.3, severe: 0.5 }),
  truth: truthOfNetwork,
  apply: (control, target, { magnitude }) => control.machine().losePackets(target.service, magnitude),
  undo: (control, target) => control.machine().losePackets(target.service, 0),
  mechanism: null,
};
