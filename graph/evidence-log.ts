/** Log templates per request served, never their volume: less traffic is no news. Channel `logs`. */
import type { EvidenceSnapshot, SnapshotTemplate } from "../contract/evidence.ts";
import type { Contribution } from "./contribution.ts";
import { isProcessEnd } from "./evidence-process.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { saturate, sumSorted } from "./robust-statistics.ts";
import { numberText } from "./wording.ts";

const weightBySeverity: Readonly<Record<SnapshotTemplate["severity"], number>> = { ERROR: 1, WARN: 0.5, INFO: 0.15, DEBUG: 0.1 };
/** A template that used to come and does not any more. */
const vanishedWeight = 0.4;
/** Lines per request that are half of full strength. */
const halfRate = 0.1;
/** Lines that are half of being sure. */
const halfCount = 4;
/** A vanished template must have been due this often. */
const dueMin = 8;
/** The second and later templates of one entity add this much. */
const furtherShare = 0.3;
/** Requests without which nothing per request can be said. */
const requestsMin = 3;

interface Base {
  readonly normal: number;
  readonly abnormal: number;
}

/** What the templates of each entity say, strongest first. */
export function logContributions(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): Contribution[] {
  const bases = invocationsOf(snapshot, neighbourhood);
  const seconds = {
    normal: Math.max(1, (snapshot.normal.toMs - snapshot.normal.fromMs) / 1_000),
    abnormal: Math.max(1, (snapshot.fault.toMs - snapshot.fault.fromMs) / 1_000),
  };
  const lists = new Map<string, SnapshotTemplate[]>();
  for (const template of snapshot.templates) {
    if (isProcessEnd(template)) continue;
    const entity = neighbourhood.fold(template.entity);
    const list = lists.get(entity);
    if (list === undefined) lists.set(entity, [template]);
    else list.push(template);
  }
  return [...lists].flatMap(([entity, templates]) => {
    const known = bases.get(entity);
    if (known !== undefined && known.abnormal < requestsMin) return [];
    const base = known !== undefined && known.normal >= requestsMin ? known : seconds;
    const unit = base === seconds ? "per second" : "per request";
    const items = templates.flatMap((template) => contributionOf(entity, template, { base, unit }));
    items.sort((left, right) => right.amount - left.amount);
    return items.map((item, index) => (index === 0 ? item : { ...item, amount: (item.amount * furtherShare) / index }));
  });
}

/** Requests per folded entity, in both intervals. */
function invocationsOf(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): Map<string, Base> {
  const lists = new Map<string, { normal: number[]; abnormal: number[] }>();
  for (const item of snapshot.invocations) {
    const entity = neighbourhood.fold(item.entity);
    const list = lists.get(entity) ?? { normal: [], abnormal: [] };
    list.normal.push(item.normal);
    list.abnormal.push(item.abnormal);
    lists.set(entity, list);
  }
  return new Map([...lists].map(([entity, list]) => [entity, { normal: sumSorted(list.normal), abnormal: sumSorted(list.abnormal) }]));
}

function contributionOf(entity: string, template: SnapshotTemplate, options: { base: Base; unit: string }): Contribution[] {
  const { base, unit } = options;
  const before = template.normalCount / base.normal;
  const after = template.abnormalCount / base.abnormal;
  const due = before * base.abnormal;
  const common = { type: "entity", id: entity, channel: "logs", evidence: [template.id] } as const;
  const line = `"${template.text.slice(0, 160)}"`;
  if (after > before) {
    const more = template.abnormalCount - due - 2 * Math.sqrt(due);
    const amount = weightBySeverity[template.severity] * saturate(after - before, halfRate) * saturate(more, halfCount);
    if (amount === 0) return [];
    const text =
      template.normalCount === 0
        ? `new ${template.severity} line ${line}, ${numberText(after)} ${unit}`
        : `${template.severity} line ${line} came ${numberText(after)} ${unit} instead of ${numberText(before)}`;
    const kind = template.severity === "ERROR" ? "code-error" : null;
    return [{ ...common, amount, text, onsetMs: template.normalCount === 0 ? template.firstSeenMs : null, kind }];
  }
  if (due < dueMin || (template.severity !== "INFO" && template.severity !== "DEBUG")) return [];
  const missing = 1 - template.abnormalCount / due;
  if (missing < 0.5) return [];
  const amount = vanishedWeight * (2 * missing - 1) * saturate(before, halfRate);
  const text = `line ${line} came ${numberText(after)} ${unit} instead of ${numberText(before)}`;
  return [{ ...common, amount, text, onsetMs: null, kind: null }];
}
