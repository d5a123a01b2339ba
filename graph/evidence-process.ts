/** Processes that the kernel saw end: killed for lack of memory, or ended as they should not. Channel `internal`. */
import type { EvidenceSnapshot, SnapshotTemplate } from "../contract/evidence.ts";
import { kernelEvent, kernelEventOf } from "../contract/kernel-telemetry.ts";
import type { Contribution } from "./contribution.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { saturate } from "./robust-statistics.ts";
import { numberText } from "./wording.ts";

/** Ends beyond the usual that are half of being sure. */
const halfCount = 0.5;
/** Somebody may have ended it on purpose, or it was a helper of the one that matters. */
const exitShare = 0.8;

/** Whether a template speaks of a process that ended against its will; an orderly end is a line like others. */
export function isProcessEnd({ text, severity }: SnapshotTemplate): boolean {
  const event = kernelEventOf(text);
  return event === kernelEvent.oomKill || (event === kernelEvent.exit && (severity === "ERROR" || severity === "WARN"));
}

/** Evidence from processes that ended, more often than they used to. */
export function processContributions(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): Contribution[] {
  const normalMs = Math.max(1, snapshot.normal.toMs - snapshot.normal.fromMs);
  const faultMs = Math.max(1, snapshot.fault.toMs - snapshot.fault.fromMs);
  return snapshot.templates.filter(isProcessEnd).flatMap((template): Contribution[] => {
    const due = (template.normalCount / normalMs) * faultMs;
    const more = template.abnormalCount - due - 2 * Math.sqrt(due);
    if (!(more > 0)) return [];
    const isKill = kernelEventOf(template.text) === kernelEvent.oomKill;
    const times = `${numberText(template.abnormalCount)} times (before: ${numberText(template.normalCount)})`;
    const common = { type: "entity", id: neighbourhood.fold(template.entity), evidence: [template.id] } as const;
    const onsetMs = template.normalCount === 0 ? template.firstSeenMs : null;
    const strength = saturate(more, halfCount);
    if (isKill) {
      return [
        { ...common, channel: "internal", amount: strength, text: `was killed for lack of memory ${times}`, onsetMs, kind: "memory" },
      ];
    }
    const text = `ended against its will ${times}: "${template.text.slice(0, 160)}"`;
    return [{ ...common, channel: "internal", amount: strength * exitShare, text, onsetMs, kind: "crash" }];
  });
}
