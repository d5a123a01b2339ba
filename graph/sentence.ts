/** The first line of page and report: what broke first, how that shows, what changed, who is hurt. */
import { compareCodeUnits } from "../contract/canonical.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { FaultKind, RankedCandidate } from "../contract/verdict.ts";
import type { WeighedChange } from "./evidence-change.ts";
import { secondsText } from "./wording.ts";

const textMax = 1_000;

const kindText: Readonly<Record<FaultKind, string>> = {
  cpu: "is short of processor time",
  memory: "is short of memory",
  disk: "waits for its disk",
  network: "is slow or unreachable over the network",
  "dns-tls": "cannot be reached by name or certificate",
  "code-error": "fails in its own code",
  "code-slow": "became slow in its own code",
  config: "suffers from a configuration change",
  deploy: "suffers from a deploy",
  datastore: "has trouble with its datastore",
  "dependency-external": "is let down by an external peer",
  load: "gets more load than usual",
  crash: "has stopped",
  "noisy-neighbour": "suffers from a neighbour on its host",
};

/** A change of at least this weight belongs in the sentence. */
const mentionedWeight = 0.2;

/** What is said when there is a first candidate. */
export function causeSentence(first: RankedCandidate, context: { change: WeighedChange | null; snapshot: EvidenceSnapshot }): string {
  const subject = first.type === "dependency" ? `the dependency ${first.id}` : first.id;
  const what = first.kind === null ? "broke first" : kindText[first.kind];
  const claim = first.claims.find((item) => item.stance === "for");
  const shown = claim === undefined ? "" : `: ${claim.text}`;
  return shortened(`${subject} ${what}${shown}${changeText(context.change)}${hurtText(first.id, context.snapshot)}.`);
}

export function inconclusiveSentence(snapshot: EvidenceSnapshot): string {
  const looked = snapshot.series.length + snapshot.operations.length + snapshot.templates.length + snapshot.events.length;
  if (looked === 0) return "Inconclusive: there is no evidence to look at.";
  return shortened(`Inconclusive: nothing deviates in the ${looked} series, operations, templates and events that were looked at.`);
}

function changeText(change: WeighedChange | null): string {
  if (change === null || change.weight < mentionedWeight) return "";
  const lag = change.lagMs <= 0 ? "at the same time as" : `${secondsText(change.lagMs / 1_000)} after`;
  return `, ${lag} the ${change.change.kind} "${change.change.summary.slice(0, 200)}"`;
}

function hurtText(cause: string, snapshot: EvidenceSnapshot): string {
  const hurt = [...new Set(snapshot.symptoms.map((symptom) => symptom.entity))].filter((entity) => entity !== cause).sort(compareCodeUnits);
  if (hurt.length === 0) return "";
  const named = hurt.slice(0, 3).join(", ");
  const more = hurt.length > 3 ? ` and ${hurt.length - 3} more` : "";
  return `; ${named}${more} ${hurt.length === 1 ? "is" : "are"} hurt`;
}

function shortened(text: string): string {
  return text.length > textMax ? `${text.slice(0, textMax - 1)}…` : text;
}
