/** One incident: the verdict's sentence first, then who is hurt, why, what speaks against it, what changed, what was not seen. */
import { useEffect, useState } from "preact/hooks";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { Incident } from "../../contract/incident.ts";
import type { SeriesWithBand } from "../../contract/route.ts";
import type { Verdict } from "../../contract/verdict.ts";
import { causalGraph } from "../causal-graph.ts";
import { entitiesOf, evidenceAgainst, evidenceFor, impactCharts } from "../evidence.ts";
import { formatLength } from "../format.ts";
import { CausalDrawing } from "../part/causal-drawing.tsx";
import { type EvidenceFrame, EvidenceList, SeriesChart } from "../part/evidence-list.tsx";
import { IncidentActions } from "../part/incident-actions.tsx";
import { BlindSpots, Candidates, Changes, Timeline, Versions } from "../part/incident-facts.tsx";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { ReportLinks } from "../part/report-links.tsx";
import { Time, useNow } from "../part/time.tsx";
import { TimeAxis } from "../part/time-axis.tsx";
import { useResource } from "../resource.ts";
import { place } from "../router.ts";
import { api, incidentTick } from "../session.ts";
import { useStore } from "../store.ts";
import { headline, impactSentence, worstFirst } from "../wording.ts";

/** How much of what was normal the charts show before the onset, as a multiple of what they show after it. */
const normalPerFault = 2;
const changesBeforeMs = 3_600_000;

export function IncidentScreen(props: { id: string }) {
  const { id } = props;
  const tick = useStore(incidentTick);
  const now = useNow();
  const read = useResource(`incident ${id}`, tick, (signal) => api.call("incident", { params: { incident: id }, signal }));
  const [answered, setAnswered] = useState<Incident | null>(null);
  const incident = newer(answered?.id === id ? answered : null, read.data);
  useEffect(() => {
    document.title = incident === null ? "Incident · Headwater" : `INC-${incident.number} ${headline(incident)}`;
  }, [incident]);
  if (incident === null) {
    return (
      <>
        <h1 tabIndex={-1}>Incident</h1>
        {read.error === null ? <Waiting what="the incident" /> : <Failure error={read.error} what="The incident" />}
      </>
    );
  }
  return (
    <article>
      <Head incident={incident} now={now} onChanged={setAnswered} />
      <Failure error={read.error} what="The newest state" />
      <Body key={id} incident={incident} now={now} />
    </article>
  );
}

function newer(left: Incident | null, right: Incident | null): Incident | null {
  if (left === null || right === null) return left ?? right;
  return left.sequence > right.sequence ? left : right;
}

function Head(props: { incident: Incident; now: number; onChanged: (incident: Incident) => void }) {
  const { incident, now } = props;
  const result = incident.verdicts.at(-1)?.result;
  return (
    <header class="incident-head">
      <p class="incident-line">
        <span class="number">INC-{incident.number}</span>
        <span class="severity">{incident.severity}</span>
        <span class="status">{incident.status}</span>
      </p>
      <h1 tabIndex={-1}>{headline(incident)}</h1>
      <p class="who">
        {worstFirst(incident.impacts)
          .map((impact) => impactSentence(impact))
          .join(" · ")}
      </p>
      <p class="aside">
        since <Time at={incident.onsetMs} now={now} />
        {incident.resolvedMs === null ? "" : `, resolved after ${formatLength(incident.resolvedMs - incident.onsetMs)}`}
        {result === undefined ? "" : ` · ${sureness(result.conclusion, result.confidence)}`}
      </p>
      <IncidentActions incident={incident} onChanged={props.onChanged} />
      <ReportLinks incident={incident.id} />
    </header>
  );
}

function sureness(conclusion: string, confidence: number | null): string {
  if (conclusion === "inconclusive") return "inconclusive: no candidate stands out";
  return confidence === null ? "confidence not calibrated yet" : `sure ${Math.round(confidence * 100)} %`;
}

/** The verdict asked for in the address; else the one that was the newest when the reader came, until a newer one is asked for. */
function useShownVerdict(incident: Incident): { shown: Verdict | null; newest: Verdict | null; showNewest: () => void } {
  const asked = Number(useStore(place).query.get("verdict"));
  const newest = incident.verdicts.at(-1) ?? null;
  const [pinned, setPinned] = useState<number | null>(newest?.version ?? null);
  useEffect(() => {
    // Who has not begun to read on gets the newest at once; under a reader's finger nothing moves.
    if (newest !== null && (pinned === null || scrollY < 120)) setPinned(newest.version);
  }, [newest?.version]);
  const wanted = asked > 0 ? asked : pinned;
  const shown = incident.verdicts.find((verdict) => verdict.version === wanted) ?? newest;
  return { shown, newest, showNewest: () => setPinned(newest?.version ?? null) };
}

function Body(props: { incident: Incident; now: number }) {
  const { incident, now } = props;
  const { shown, newest, showNewest } = useShownVerdict(incident);
  const evidence = useResource(`evidence ${incident.id}`, newest?.id, (signal) =>
    newest === null ? Promise.resolve(null) : api.call("incidentEvidence", { params: { incident: incident.id }, signal }),
  );
  if (shown === null) {
    return (
      <>
        <Empty title="No verdict yet.">
          <p>The first one is asked for 5 seconds after the onset, in event time; it needs the windows until then to be closed.</p>
        </Empty>
        <h2>Timeline</h2>
        <Timeline timeline={incident.timeline} now={now} />
      </>
    );
  }
  return (
    <>
      {newest !== null && shown !== newest ? (
        <p class="newer" role="status">
          This is verdict {shown.version}; verdict {newest.version} is here.{" "}
          <button type="button" onClick={showNewest}>
            Show
          </button>
        </p>
      ) : null}
      <Failure error={evidence.error} what="The evidence" />
      <Evidence verdict={shown} snapshot={evidence.data} now={now} />
      <Rest incident={incident} verdict={shown} snapshot={evidence.data} now={now} />
    </>
  );
}

function Evidence(props: { verdict: Verdict; snapshot: EvidenceSnapshot | null; now: number }) {
  const { verdict, snapshot, now } = props;
  const { result } = verdict;
  const { fromMs, toMs } = chartRange(verdict);
  const forIt = evidenceFor(result, snapshot);
  const against = evidenceAgainst(result, snapshot);
  const impact = impactCharts(snapshot);
  const entities = entitiesOf([...forIt.flatMap((item) => item.charts), ...against.flatMap((item) => item.charts), ...impact]);
  const bands = useResource(`bands ${fromMs} ${toMs} ${entities.join("\n")}`, null, (signal) =>
    readBands({ entities, fromMs, toMs, signal }),
  );
  const changes = snapshot?.changes.filter((change) => change.atMs >= fromMs && change.atMs <= toMs) ?? [];
  const frame: EvidenceFrame = { snapshot, fromMs, toMs, onsetMs: result.onsetMs, changes, stored: bands.data ?? [], now };
  const drawn = new Set(forIt.flatMap((item) => item.charts.map((chart) => chart.id)));
  return (
    <section>
      <h2>Why</h2>
      <TimeAxis fromMs={fromMs} toMs={toMs} onsetMs={result.onsetMs} changes={changes} now={now} />
      {forIt.length === 0 ? (
        <p class="aside">This verdict names no claim for its first candidate.</p>
      ) : (
        <EvidenceList items={forIt} frame={frame} />
      )}
      {impact.length > 0 ? (
        <>
          <h3>Who feels it</h3>
          {impact
            .filter((chart) => !drawn.has(chart.id))
            .map((chart) => (
              <SeriesChart key={chart.id} chart={chart} frame={frame} />
            ))}
        </>
      ) : null}
      <h3>What speaks against it</h3>
      {against.length === 0 ? <p class="aside">Nothing that was looked at.</p> : <EvidenceList items={against} frame={frame} />}
    </section>
  );
}

/** From some of the normal time before the onset to the end of what was looked at. */
function chartRange(verdict: Verdict): { fromMs: number; toMs: number } {
  const { normal, fault } = verdict.result;
  const length = Math.max(1, fault.toMs - fault.fromMs);
  return { fromMs: Math.max(normal.fromMs, fault.fromMs - length * normalPerFault), toMs: fault.toMs };
}

interface BandQuery {
  readonly entities: readonly string[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly signal: AbortSignal;
}

async function readBands(query: BandQuery): Promise<SeriesWithBand[]> {
  const { fromMs, toMs, signal } = query;
  const answers = await Promise.all(
    query.entities.map((entity) => api.call("series", { query: { fromMs, toMs, entity, limit: 500 }, signal })),
  );
  return answers.flatMap((answer) => answer.items);
}

function Rest(props: { incident: Incident; verdict: Verdict; snapshot: EvidenceSnapshot | null; now: number }) {
  const { incident, verdict, snapshot, now } = props;
  const graph = snapshot === null ? null : causalGraph(verdict.result, snapshot);
  const until = incident.resolvedMs ?? now;
  const recorded = useResource(`changes ${incident.onsetMs}`, incident.status, (signal) =>
    api.call("changes", { query: { fromMs: Math.max(0, incident.onsetMs - changesBeforeMs), toMs: until + 1, limit: 100 }, signal }),
  );
  return (
    <>
      {graph === null || graph.nodes.length === 0 ? null : (
        <section>
          <h2>How it travels</h2>
          <CausalDrawing graph={graph} />
          {graph.leftOut > 0 ? <p class="aside">{graph.leftOut} more with a role are in the report.</p> : null}
        </section>
      )}
      <section>
        <h2>Candidates</h2>
        <Candidates ranking={verdict.result.ranking} snapshot={snapshot} />
      </section>
      <section>
        <h2>What changed</h2>
        <Failure error={recorded.error} what="The changes" />
        {recorded.data?.items.length === 0 ? <p class="aside">Nothing was recorded from an hour before the onset on.</p> : null}
        <Changes changes={recorded.data?.items ?? []} now={now} />
      </section>
      <section>
        <h2>What could not be seen</h2>
        {verdict.result.blindSpots.length === 0 ? (
          <p class="aside">No blind spot is known.</p>
        ) : (
          <BlindSpots blindSpots={verdict.result.blindSpots} />
        )}
      </section>
      <section>
        <h2>Timeline</h2>
        <Timeline timeline={incident.timeline} now={now} />
      </section>
      <section>
        <h2>Versions of the verdict</h2>
        <Versions incident={incident} shown={verdict} now={now} />
      </section>
    </>
  );
}
