/** What a fault is: whom it can hit, how hard, what the right answer is, and how it is begun and undone. */
import type { ChangeKind } from "../../contract/change.ts";
import type { FaultKind } from "../../contract/verdict.ts";
import type { Random } from "../random.ts";
import { reachMin, reachOfService } from "../reach.ts";
import { edgeName, edgesOf, entityIdOf, type ShopSpec, serviceOf } from "../spec.ts";

export const faultNames = ["slow-code", "exception-deploy", "pool-leak", "crash", "slow-dependency", "bad-flag"] as const;
/** Faults that only root can make, since they are of the machine and not of the service. */
export const rootFaultNames = [
  "packet-loss",
  "refused",
  "network-delay",
  "disk-throttle",
  "cpu-quota",
  "memory-limit",
  "noisy-neighbour",
] as const;
export type FaultName = (typeof faultNames)[number] | (typeof rootFaultNames)[number];

/** A service, or with `caller` the edge that leads to it. */
export interface FaultTarget {
  readonly service: string;
  readonly caller: string | null;
}

/** One acceptable answer, as `truth` of a case has it. */
export interface TruthItem {
  readonly type: "entity" | "dependency" | "change";
  readonly id: string;
  readonly kind: FaultKind;
}

/** From the weakest to the strongest form of a fault; the weakest one still burns an objective of an entry service. */
export interface MagnitudeRange {
  readonly unit:
    | "ms added"
    | "share of requests"
    | "processes ended"
    | "share of packets"
    | "connections refused"
    | "bytes a second"
    | "share of its processor time"
    | "bytes left"
    | "cores for the host";
  readonly mild: number;
  readonly severe: number;
}

/** What a fault may change inside a running service. */
export interface ServiceHooks {
  /** Runs within the service's own work on every request; may take time or throw. */
  readonly duringWork?: () => Promise<void>;
  /** Asked after each use of a connection; `yes` = it is not given back. */
  readonly keepsConnection?: () => "yes" | "no";
}

/** What a fault may do to the running shop. */
export interface FaultControl {
  setFault(service: string, options: { fault: FaultName; magnitude: number; variant: string }): Promise<void>;
  clearFault(service: string): Promise<void>;
  delayEdge(edge: { caller: string; callee: string }, delayMs: number): Promise<void>;
  /** The same of every edge that leads to a service. */
  delayService(service: string, delayMs: number): Promise<void>;
  /** Resolves when the process has ended. */
  crash(service: string): Promise<void>;
  /** Resolves when the service answers again. */
  restart(service: string): Promise<void>;
  /** Takes away the memory of a service that takes ever more; resolves when the kernel has killed it. */
  exhaustMemory(service: string, bytesLeft: number): Promise<void>;
  /** What may be done to the machine. Throws LAB_FAILED where that is not allowed. */
  machine(): MachineControl;
}

/** What a fault may do to the machine beside the services. */
export interface MachineControl {
  /** 0: no more. */
  losePackets(service: string, share: number): Promise<void>;
  refuseConnections(service: string, refuse: "yes" | "no"): Promise<void>;
  /** A share of the processor time that it used while it was well; null: no limit. */
  limitCpu(service: string, share: number | null): void;
  limitWrites(service: string, bytesPerSecond: number | null): void;
  /** Everybody on the service's host, and somebody who works without a pause, share so many cores. */
  crowd(service: string, cores: number): void;
  uncrowd(service: string): Promise<void>;
}

export interface Fault {
  readonly name: FaultName;
  /** The kind of change that comes with it, or null where nobody changed anything. */
  readonly change: Extract<ChangeKind, "deploy" | "flag"> | null;
  readonly hits: "service" | "edge";
  /** `root`: it can be made by root only. */
  readonly rights: "none" | "root";
  /** Forms among which is drawn. */
  readonly variants: readonly string[];
  /** Whether breaking the target this way is felt by at least `reachMin` of an entry's requests; answers that entry and share, else null. */
  needs(shop: ShopSpec, target: FaultTarget): { entry: string; share: number } | null;
  range(options: { entryP95Ms: number; variant: string }): MagnitudeRange;
  truth(shop: ShopSpec, target: FaultTarget, changeId: string | null): TruthItem[];
  apply(control: FaultControl, target: FaultTarget, options: { magnitude: number; variant: string }): Promise<void>;
  undo(control: FaultControl, target: FaultTarget): Promise<void>;
  /** The fault inside a service; null where it happens outside of it. */
  readonly mechanism: ((options: { magnitude: number; variant: string; random: Random }) => ServiceHooks) | null;
}

/** Everything in the shop that a fault can hit. */
export function targetsOf(shop: ShopSpec, fault: Fault): FaultTarget[] {
  const all =
    fault.hits === "service"
      ? shop.services.map((service) => ({ service: service.name, caller: null }))
      : edgesOf(shop).map((edge) => ({ service: edge.callee, caller: edge.caller }));
  return all.filter((target) => fault.needs(shop, target) !== null);
}

/** A magnitude from a severity of 0 (mild) to 1 (severe), in equal steps of ratio. */
export function magnitudeOf(range: MagnitudeRange, severity: number): number {
  const value = range.mild * (range.severe / range.mild) ** severity;
  return value >= 100 ? Math.round(value) : Math.round(value * 1_000) / 1_000;
}

/** Needs of a fault that any service on the way of most requests can have. */
export function needsReach(shop: ShopSpec, target: FaultTarget): { entry: string; share: number } | null {
  return atLeastReachMin(reachOfService(shop, target.service));
}

export function atLeastReachMin(reach: { entry: string; share: number }): { entry: string; share: number } | null {
  return reach.share >= reachMin ? reach : null;
}

/** Needs of a fault that only the service's callers can see. */
export function needsCallers(shop: ShopSpec, target: FaultTarget): { entry: string; share: number } | null {
  return serviceOf(shop, target.service).layer === 0 ? null : needsReach(shop, target);
}

/** More than callers wait for; beyond it a slower one cannot be told from a dead one, and takes long to get well again. */
const slowMsMax = 3_000;

/** Added time: from three times the entry's usual p95 to about as long as callers wait. */
export function slownessRange(entryP95Ms: number): MagnitudeRange {
  const mild = Math.min(slowMsMax, Math.max(90, 3 * entryP95Ms));
  return { unit: "ms added", mild, severe: Math.min(slowMsMax, Math.max(1_200, mild * 1.25)) };
}

/** The truth of a fault that sits in a service itself. */
export function truthOfService(shop: ShopSpec, target: FaultTarget, kind: FaultKind): TruthItem {
  return { type: "entity", id: entityIdOf(shop, target.service), kind };
}

/** The truth of a fault in the network of a service: the dependency is an answer as well where there is but one. */
export function truthOfNetwork(shop: ShopSpec, target: FaultTarget): TruthItem[] {
  const [only, ...others] = edgesOf(shop).filter((edge) => edge.callee === target.service);
  const service = truthOfService(shop, target, "network");
  if (only === undefined || others.length > 0) return [service];
  const id = edgeName({ caller: entityIdOf(shop, only.caller), callee: entityIdOf(shop, only.callee) });
  return [{ type: "dependency", id, kind: "network" }, service];
}

/** Most faults live inside the service and are switched on and off there. */
export function insideService(name: FaultName): Pick<Fault, "apply" | "undo"> {
  return {
    apply: (control, target, options) => control.setFault(target.service, { fault: name, ...options }),
    undo: (control, target) => control.clearFault(target.service),
  };
}
