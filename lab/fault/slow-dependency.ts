/** The network between a caller and a callee delays what passes; both sides are well. */
import { reachOfEdge } from "../reach.ts";
import { edgeName, entityIdOf } from "../spec.ts";
import { atLeastReachMin, type Fault, type FaultTarget, slownessRange, truthOfService } from "./fault.ts";

function edgeOf(target: FaultTarget): { caller: string; callee: string } {
  if (target.caller === null) throw new RangeError("slow-dependency needs an edge");
  return { caller: target.caller, callee: target.service };
}

export const slowDependency: Fault = {
  name: "slow-dependency",
  change: null,
  hits: "edge",
  rights: "none",
  variants: ["delayed"],
  needs: (shop, target) => atLeastReachMin(reachOfEdge(shop, edgeOf(target))),
  range: (options) => slownessRange(options.entryP95Ms),
  truth: (shop, target) => {
    const edge = edgeOf(target);
    const id = edgeName({ caller: entityIdOf(shop, edge.caller), callee: entityIdOf(shop, edge.callee) });
    return [{ type: "dependency", id, kind: "network" }, truthOfService(shop, target, "network")];
  },
  apply: (control, target, options) => control.delayEdge(edgeOf(target), options.magnitude),
  undo: (control, target) => control.delayEdge(edgeOf(target), 0),
  mechanism: null,
};
