/** What to do first about a cause. Suggestions for a person; nothing here is ever run. */
import type { FaultKind, RankedCandidate } from "../contract/verdict.ts";
import type { ReportChange } from "./changes.ts";

interface Step {
  readonly text: string;
  readonly command: string | null;
}

const byKind: Readonly<Record<FaultKind, string>> = {
  cpu: "See what uses its processor time; give it more or take load away.",
  memory: "See what holds its memory; restarting it buys time.",
  disk: "See what fills or loads its disk.",
  network: "Check the way between it and its peers: packet loss, firewall, saturation.",
  "dns-tls": "Check that its name resolves and its certificate is valid.",
  "code-error": "Look at the exception in the example spans; go back to the version before if there is one.",
  "code-slow": "Look at the slowest example spans; go back to the version before if there is one.",
  config: "Undo the configuration change, then look at what it was for.",
  deploy: "Go back to the version before.",
  datastore: "Look at its connections, locks and slow queries.",
  "dependency-external": "Ask whoever runs it; serve without it where that is possible.",
  load: "See where the load comes from; shed it or add capacity.",
  crash: "See why it ended (exit code, out of memory, last log lines) and start it again.",
  "noisy-neighbour": "Move it or its neighbour to another host.",
};

/** Best first: the undo of a change that ranks as the cause or belongs to it, then what the kind of fault suggests. */
export function firstSteps(
  cause: RankedCandidate | null,
  context: { changes: readonly ReportChange[]; ranking: readonly RankedCandidate[] },
): Step[] {
  if (cause === null)
    return [{ text: "No cause stands out. Begin with the blind spots below: each names what would remove it.", command: null }];
  const steps: Step[] = [];
  for (const change of context.changes) {
    const own = cause.type === "change" ? change.id === cause.id : change.entity === cause.id && change.rank !== null;
    if (!own) continue;
    const text = `Undo the ${change.kind} "${change.summary}" of ${change.entity}.`;
    steps.push({ text: cause.type === "change" ? text : `${text} It is not certain that it is the reason.`, command: change.undo });
  }
  if (cause.kind !== null) steps.push({ text: `${cause.id}: ${byKind[cause.kind]}`, command: null });
  else if (steps.length === 0) steps.push({ text: `Look at ${cause.id} first.`, command: null });
  return steps;
}
