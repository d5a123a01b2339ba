/**
 * `rankCauses`: what broke first (design §7). Pure, deterministic and unsupervised; the same for live incidents, replayed
 * bundles and benchmark cases. The steps:
 *   1. fold aliases, index who calls whom                       neighbourhood.ts
 *   2. measure every series against its own past                metric-view.ts, deviation.ts, silence.ts
 *   3. add up spans per entity and dependency                   span-view.ts
 *   4. turn both, logs and events into contributions            evidence-*.ts
 *   5. normalise per channel, add, explain away                 weigh.ts, explain-away.ts
 *   6. let recent changes speak where their entity deviates     evidence-change.ts, candidate.ts
 *   7. name roles, kinds, claims and the first line             candidate.ts, claims.ts, fault-kind.ts, sentence.ts
 */
import { compareCodeUnits } from "../contract/canonical.ts";
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import type { RankedCandidate, RankResult } from "../contract/verdict.ts";
import { candidatesOf, type Judgement } from "./candidate.ts";
import { byCandidate } from "./contribution.ts";
import { onsetsOf, weighedChanges } from "./evidence-change.ts";
import { errorContributions } from "./evidence-error.ts";
import { eventContributions } from "./evidence-event.ts";
import { externalContributions } from "./evidence-external.ts";
import { gapContributions } from "./evidence-gap.ts";
import { hostContributions } from "./evidence-host.ts";
import { connectionContributions, kernelSourceOf, syscallContributions, waitContributions } from "./evidence-kernel.ts";
import { logContributions } from "./evidence-log.ts";
import { internalContributions, loadContributions, saturationOf } from "./evidence-metric.ts";
import { ownTimeContributions } from "./evidence-own-time.ts";
import { processContributions } from "./evidence-process.ts";
import { silenceViewOf } from "./evidence-silence.ts";
import { unresolvedContributions } from "./evidence-unresolved.ts";
import { failsMore, metricViewOf } from "./metric-view.ts";
import { neighbourhoodOf } from "./neighbourhood.ts";
import { relevanceOf } from "./relevance.ts";
import { causeSentence, inconclusiveSentence } from "./sentence.ts";
import { spanViewOf, totalOf } from "./span-view.ts";
import { damageOf, scaleOf, weigh } from "./weigh.ts";

/** A first candidate below this score rests on nothing that deviates. */
const scoreMin = 0.1;

/** Ranks every entity, dependency and change of the snapshot as the cause. Never throws for any snapshot its schema allows. */
export function rankCauses(snapshot: EvidenceSnapshot): RankResult {
  const judgement = judge(snapshot);
  const ranking = candidatesOf(judgement).sort(byScore);
  const first = ranking[0];
  const conclusive = first !== undefined && first.score >= scoreMin;
  const leading = conclusive ? first : null;
  const change = leading === null ? null : (judgement.changeOf(leading.id) ?? null);
  return {
    schemaVersion: 1,
    conclusion: conclusive ? "cause" : "inconclusive",
    confidence: null,
    sentence: leading === null ? inconclusiveSentence(snapshot) : causeSentence(leading, { change, snapshot }),
    ranking: conclusive ? ranking : ranking.map((candidate) => ({ ...candidate, role: "none" as const })),
    onsetMs: leading?.onsetMs ?? null,
    normal: snapshot.normal,
    fault: snapshot.fault,
    counterEvidence: leading?.claims.filter((claim) => claim.stance === "against") ?? [],
    blindSpots: snapshot.blindSpots,
  };
}

/** Equal scores are ties, listed by type and id. */
function byScore(left: RankedCandidate, right: RankedCandidate): number {
  return right.score - left.score || compareCodeUnits(left.type, right.type) || compareCodeUnits(left.id, right.id);
}

/** Steps 1 to 5: all that the evidence says, weighed. */
function judge(snapshot: EvidenceSnapshot): Judgement {
  const neighbourhood = neighbourhoodOf(snapshot);
  const metrics = metricViewOf(snapshot, neighbourhood);
  const spans = spanViewOf(snapshot, neighbourhood);
  const silence = silenceViewOf(snapshot, {
    neighbourhood,
    spans,
    split: metrics.split,
    failsMore: (entity) => failsMore(metrics, entity),
  });
  const changes = weighedChanges(snapshot, neighbourhood, onsetsOf(snapshot, metrics));
  const changeOf = (id: string) =>
    changes
      .filter((item) => item.target.id === id && item.weight > 0)
      .sort((left, right) => right.weight - left.weight || compareCodeUnits(left.change.id, right.change.id))[0];
  const saturation = (entity: string): number => saturationOf(metrics, entity);
  const hasSpans = (entity: string): boolean => totalOf(spans.entities.get(entity)?.server ?? [], "normal", "count") > 0;
  const contributions = [
    ...ownTimeContributions(spans),
    ...gapContributions(spans, saturation),
    ...errorContributions(spans, {
      silenceOf: silence.silenceOf,
      reports: (entity) => metrics.reporting.has(entity),
      saturationOf: saturation,
      changedOf: (entity) => changeOf(entity)?.weight ?? 0,
    }),
    ...unresolvedContributions({ view: spans, neighbourhood, silenceOf: silence.silenceOf }),
    ...silence.contributions,
    ...internalContributions(metrics),
    ...externalContributions(metrics, {
      neighbourhood,
      hasSpans,
      hasClientSpans: (edge) => spans.edges.has(edge),
      silenceOf: silence.silenceOf,
    }),
    ...loadContributions(metrics, neighbourhood),
    ...logContributions(snapshot, neighbourhood),
    ...eventContributions(snapshot, neighbourhood),
    ...waitContributions(metrics, neighbourhood),
    ...connectionContributions(metrics, neighbourhood),
    ...syscallContributions(metrics),
    ...processContributions(snapshot, neighbourhood),
  ];
  const evidence = byCandidate([...contributions, ...hostContributions(neighbourhood, byCandidate(contributions))]);
  const scale = scaleOf(snapshot, { neighbourhood, spans, metrics });
  const weighed = weigh(evidence, {
    neighbourhood,
    scale,
    damage: damageOf(snapshot, { neighbourhood, spans, metrics, scale }),
    relevanceOf: relevanceOf(snapshot, neighbourhood),
  });
  const sourceOf = kernelSourceOf(snapshot);
  return { neighbourhood, metrics, spans, evidence, weighed, changes, changeOf, saturationOf: saturation, sourceOf };
}
