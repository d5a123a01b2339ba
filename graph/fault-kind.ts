/** A guess at what kind of fault a candidate has, from what its evidence points to. */
import type { ChangeKind } from "../contract/change.ts";
import type { SnapshotEntity } from "../contract/evidence.ts";
import { FaultKind } from "../contract/verdict.ts";
import type { Contribution } from "./contribution.ts";
import type { WeighedChange } from "./evidence-change.ts";
import { sumSorted } from "./robust-statistics.ts";

const kindOfChange: Readonly<Record<ChangeKind, FaultKind>> = {
  deploy: "deploy",
  config: "config",
  flag: "config",
  scale: "load",
  restart: "crash",
  security: "config",
  binary: "deploy",
  dependency: "dependency-external",
};

/** A change of at least this weight gives its name to the fault. */
const tellingWeight = 0.3;
/** Strengths from which an internal quantity names the fault although requests feel it as slowness. */
const namingStrength = 0.5;

export function kindOfChangeCandidate(kind: ChangeKind): FaultKind {
  return kindOfChange[kind];
}

/** Null where no evidence points anywhere. */
export function kindOfCandidate(
  contributions: readonly Contribution[],
  context: {
    entity: SnapshotEntity | null;
    change: WeighedChange | null;
    weightOf: (contribution: Contribution) => number;
    /** Whether the candidate calls a datastore. */
    callsDatastore: boolean;
    saturation: number;
  },
): FaultKind | null {
  if (contributions.some((item) => item.channel === "silence" && item.amount > 0)) return "crash";
  const strongest = strongestKind(contributions, context.weightOf);
  if (strongest === null) return null;
  if (context.entity?.type === "datastore") return "datastore";
  if (context.entity?.type === "external") return "dependency-external";
  if (strongest === "crash" || strongest === "load" || strongest === "network") return strongest;
  if (context.saturation > namingStrength && context.callsDatastore) return "datastore";
  const internal = contributions.filter((item) => item.channel === "internal" && item.amount > namingStrength);
  const named = internal.find((item) => item.kind === "cpu" || item.kind === "memory" || item.kind === "disk");
  if (named !== undefined) return named.kind;
  const { change } = context;
  if (change !== null && change.weight >= tellingWeight && kindOfChange[change.change.kind] === "config") return "config";
  return strongest;
}

/** The kind with the most weight; equal ones in the order of the list of kinds. */
function strongestKind(contributions: readonly Contribution[], weightOf: (contribution: Contribution) => number): FaultKind | null {
  let best: { kind: FaultKind; weight: number } | null = null;
  for (const kind of FaultKind.options) {
    const weight = sumSorted(contributions.filter((item) => item.kind === kind).map(weightOf));
    if (weight > 0 && (best === null || weight > best.weight)) best = { kind, weight };
  }
  return best?.kind ?? null;
}
