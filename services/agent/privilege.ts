/** The rights of an agent: what it cannot see without some of them, and giving up those that it needs no more once everything is attached. */
import type { Privileges } from "../../native/kernel-probe.ts";
import { capabilityNames } from "./host-facts.ts";
import type { KernelSource } from "./kernel-source.ts";

/** The reading thread attaches again after pauses and when a level is taken back; only an administrator may have runs counted. */
const keptByReader = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"];
/** All other threads read `/proc` of other users' processes, nothing else. */
const keptElsewhere = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];

function maskOf(names: readonly string[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(capabilityNames.indexOf(name))), 0n);
}

/** For the whole process and for good; when everything is attached. Rights that it never had are not given to it. */
export function giveUpRights(source: KernelSource): Promise<Privileges> {
  return source.dropPrivileges({ here: maskOf(keptByReader), elsewhere: maskOf(keptElsewhere) });
}

/** What is not seen for want of rights, as sentences without a full stop. `capabilities`: names of those that the process has. */
export function unseenWithout(capabilities: readonly string[]): string[] {
  const lacks = (names: readonly string[]) => names.filter((name) => !capabilities.includes(name));
  const [forNames, forCost] = [lacks(keptElsewhere), lacks(["CAP_SYS_ADMIN"])];
  const sentences: string[] = [];
  if (forNames.length > 0) {
    sentences.push(
      `environment and open files of other users' processes cannot be read (${forNames.join(" and ")} missing): their services are named by control groups and commands`,
    );
  }
  if (forCost.length > 0) {
    sentences.push(
      "what the programs cost in the kernel is not counted (CAP_SYS_ADMIN missing): the budget is kept by the agent's own processor time",
    );
  }
  return sentences;
}
