/** What a report says, once, for all three formats. */
import { contentHash } from "../contract/canonical.ts";
import type { BlindSpot, EvidenceSnapshot, SnapshotSeries } from "../contract/evidence.ts";
import type { Incident, IncidentEvent } from "../contract/incident.ts";
import { impactSentence, incidentSentence, worstImpact } from "../contract/incident-fold.ts";
import { derivedMetric } from "../contract/series.ts";
import type { Claim, Operational, RankedCandidate, Verdict } from "../contract/verdict.ts";
import { changesOf, type ReportChange } from "./changes.ts";
import { type EvidenceRef, evidenceRefs } from "./evidence-refs.ts";
import { firstSteps } from "./first-steps.ts";
import { newestOperational } from "./how-it-came.ts";

/** Candidates in the ranking table. */
const rankedMax = 5;
const chartsMax = 8;
const timelineMax = 200;

export interface ReportInput {
  readonly incident: Incident;
  /** The sealed snapshot behind the newest verdict; null while there is none. */
  readonly snapshot: EvidenceSnapshot | null;
  readonly events: readonly IncidentEvent[];
  /** Where the events were read from, e.g. `incident/<id>`. */
  readonly generatedFrom: string;
}

export interface ReportClaim {
  readonly text: string;
  readonly onsetMs: number | null;
  readonly refs: readonly EvidenceRef[];
  /** Everything of it was seen by the kernel; absent otherwise. */
  readonly source?: "kernel";
}

export interface ReportContent {
  readonly schemaVersion: 1;
  readonly title: string;
  readonly sentence: string;
  /** Who is hurt, worst first. */
  readonly hurt: readonly string[];
  readonly status: Incident["status"];
  readonly severity: Incident["severity"];
  readonly onsetMs: number;
  readonly openedMs: number;
  readonly acknowledgedMs: number | null;
  readonly acknowledgedBy: string | null;
  readonly resolvedMs: number | null;
  readonly conclusion: "cause" | "inconclusive" | "pending";
  readonly confidence: number | null;
  readonly cause: Pick<RankedCandidate, "type" | "id" | "kind" | "role" | "onsetMs"> | null;
  readonly evidence: readonly ReportClaim[];
  readonly counterEvidence: readonly ReportClaim[];
  readonly charts: readonly SnapshotSeries[];
  readonly changes: readonly ReportChange[];
  readonly steps: readonly { readonly text: string; readonly command: string | null }[];
  readonly ranking: readonly (Pick<RankedCandidate, "type" | "id" | "score" | "kind" | "role" | "onsetMs"> & {
    readonly rank: number;
    /** The id, or what a change was, for people. */
    readonly label: string;
  })[];
  readonly verdicts: readonly {
    readonly version: number;
    readonly reason: string;
    readonly askedForMs: number;
    readonly first: string | null;
  }[];
  readonly timeline: Incident["timeline"];
  readonly blindSpots: readonly BlindSpot[];
  /** Adapters, queries and times of the newest verdict; not part of the inputs' hash. */
  readonly operational: Operational | null;
  readonly normal: { readonly fromMs: number; readonly toMs: number } | null;
  readonly fault: { readonly fromMs: number; readonly toMs: number } | null;
  readonly inputs: {
    readonly generatedFrom: string;
    readonly hash: string;
    readonly snapshotHash: string | null;
    readonly verdict: string | null;
  };
}

/** Pure: the same input gives the same content. */
export function reportContent(input: ReportInput): ReportContent {
  const { incident, snapshot, events, generatedFrom } = input;
  const verdict = incident.verdicts.at(-1) ?? null;
  const result = verdict?.result ?? null;
  const conclusive = result?.conclusion === "cause" ? (result.ranking[0] ?? null) : null;
  const changes = changesOf(snapshot, result?.ranking ?? []);
  const claims = conclusive?.claims ?? [];
  const against = uniqueClaims([...(result?.counterEvidence ?? []), ...claims.filter((claim) => claim.stance === "against")]);
  const hurt = [worstImpact(incident), ...incident.impacts.filter((impact) => impact !== worstImpact(incident))];
  return {
    schemaVersion: 1,
    title: `INC-${incident.number}`,
    sentence: incidentSentence(incident),
    hurt: hurt.map(impactSentence),
    status: incident.status,
    severity: incident.severity,
    onsetMs: incident.onsetMs,
    openedMs: incident.openedMs,
    acknowledgedMs: incident.acknowledgedMs,
    acknowledgedBy: incident.acknowledgedBy,
    resolvedMs: incident.resolvedMs,
    conclusion: result?.conclusion ?? "pending",
    confidence: result?.confidence ?? null,
    cause: conclusive === null ? null : pickCause(conclusive),
    evidence: claims.filter((claim) => claim.stance === "for").map((claim) => reportClaim(claim, snapshot)),
    counterEvidence: against.map((claim) => reportClaim(claim, snapshot)),
    charts: chartsOf(snapshot, { leading: conclusive, incident }),
    changes,
    steps: firstSteps(conclusive, { changes, ranking: result?.ranking ?? [] }),
    ranking: rankedOf(result?.ranking ?? [], snapshot),
    verdicts: incident.verdicts.map(verdictLine),
    timeline: incident.timeline.slice(-timelineMax),
    blindSpots: result?.blindSpots ?? snapshot?.blindSpots ?? [],
    operational: newestOperational(events),
    normal: result?.normal ?? null,
    fault: result?.fault ?? null,
    inputs: {
      generatedFrom,
      hash: inputHash(events, verdict),
      snapshotHash: verdict?.snapshotHash ?? null,
      verdict: verdict?.id ?? null,
    },
  };
}

/** What was measured while answering (lag, wall times) is shown and never hashed. */
function inputHash(events: readonly IncidentEvent[], verdict: Verdict | null): string {
  const hashed = events.map((event) => (event.type === "verdict-added" ? { ...event, operational: null } : event));
  return contentHash({ events: hashed, snapshot: verdict?.snapshotHash ?? null });
}

function pickCause({ type, id, kind, role, onsetMs }: RankedCandidate): ReportContent["cause"] {
  return { type, id, kind, role, onsetMs };
}

function verdictLine({ version, reason, askedForMs, result }: Verdict): ReportContent["verdicts"][number] {
  return { version, reason, askedForMs, first: result.conclusion === "cause" ? (result.ranking[0]?.id ?? null) : null };
}

function reportClaim(claim: Claim, snapshot: EvidenceSnapshot | null): ReportClaim {
  const source = claim.source === undefined ? {} : { source: claim.source };
  return { text: claim.text, onsetMs: claim.onsetMs, refs: evidenceRefs(claim.evidence, snapshot), ...source };
}

function uniqueClaims(claims: readonly Claim[]): Claim[] {
  return [...new Map(claims.map((claim) => [claim.text, claim])).values()];
}

/** Series that the claims of the first candidate rest on, then those of who is hurt; each once. */
function chartsOf(snapshot: EvidenceSnapshot | null, of: { leading: RankedCandidate | null; incident: Incident }): SnapshotSeries[] {
  if (snapshot === null) return [];
  const byId = new Map(snapshot.series.map((series) => [series.id, series]));
  const claimed = (of.leading?.claims ?? []).filter((claim) => claim.stance === "for").flatMap((claim) => claim.evidence);
  const chosen = new Map<string, SnapshotSeries>();
  for (const id of claimed) {
    const series = byId.get(id);
    if (series !== undefined && chosen.size < chartsMax - 4) chosen.set(id, series);
  }
  const owners = [...(of.leading === null ? [] : [of.leading.id]), ...of.incident.impacts.map(({ entity }) => entity)];
  for (const owner of owners) {
    for (const statistic of ["error_ratio", "p95"] as const) {
      const served = snapshot.series.filter(
        (series) => series.entity === owner && series.statistic === statistic && isServed(series.metric),
      );
      const [whole] = [...served].sort((left, right) => left.attributes.length - right.attributes.length);
      if (whole !== undefined && chosen.size < chartsMax) chosen.set(whole.id, whole);
    }
  }
  return [...chosen.values()];
}

const servedMetrics: ReadonlySet<string> = new Set([
  ...[derivedMetric.serverDuration, derivedMetric.clientDuration],
  ...[derivedMetric.kernelServerDuration, derivedMetric.kernelClientDuration],
]);

function isServed(metric: string): boolean {
  return servedMetrics.has(metric);
}

/** The first few that explain anything; the first one whatever it explains. */
function rankedOf(ranking: readonly RankedCandidate[], snapshot: EvidenceSnapshot | null): ReportContent["ranking"] {
  const shown = ranking.slice(0, rankedMax).filter(({ score }, index) => index === 0 || score > 0);
  return shown.map(({ type, id, score, kind, role, onsetMs }, index) => {
    const change = type === "change" ? snapshot?.changes.find((item) => item.id === id) : undefined;
    const label = change === undefined ? id : `${change.kind} "${change.summary}" of ${change.entity}`;
    return { rank: index + 1, type, id, label, score, kind, role, onsetMs };
  });
}
