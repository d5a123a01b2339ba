/** What of this machine the lab may use: control groups and a table in its firewall, as root; less is no failure. */
import { LabGroups } from "./cgroup.ts";
import { Firewall } from "./firewall.ts";
import { LabError, textOf } from "./lab-error.ts";

export interface Machine {
  readonly groups: LabGroups | null;
  readonly firewall: Firewall | null;
  /** Why something of it is missing, as sentences. */
  readonly missing: readonly string[];
  /** Leaves the machine as it was; what ran in the groups has ended. */
  close(): Promise<void>;
}

/** Never rejects. `none`: as if the lab were not root. */
export async function openMachine(rights: "auto" | "none" = "auto"): Promise<Machine> {
  const nothing = (reason: string): Machine => ({ groups: null, firewall: null, missing: [reason], close: async () => {} });
  if (rights === "none") return nothing("the lab was told to do without");
  if (process.getuid?.() !== 0) return nothing("the lab does not run as root");
  const missing: string[] = [];
  const note = (error: unknown): null => {
    missing.push(textOf(error));
    return null;
  };
  const firewall = await Firewall.open(process.pid).catch(note);
  let groups: LabGroups | null = null;
  try {
    groups = LabGroups.open(process.pid);
  } catch (error) {
    note(error);
  }
  const close = async (): Promise<void> => {
    await Promise.all([firewall?.close(), groups?.close()]);
  };
  return { groups, firewall, missing, close };
}

export function needsRoot({ missing }: Machine): LabError {
  return new LabError(`this fault needs root: ${missing.join("; ")}`);
}

/** What is there of a machine. Throws LAB_FAILED with the reasons where something is not. */
export function wholeMachine(machine: Machine): { groups: LabGroups; firewall: Firewall } {
  if (machine.groups === null || machine.firewall === null) throw needsRoot(machine);
  return { groups: machine.groups, firewall: machine.firewall };
}
