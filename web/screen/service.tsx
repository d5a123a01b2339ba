/** One service (or datastore) at a moment: its series with bands, who calls whom, changes, spans and log lines. */
import { useEffect } from "preact/hooks";
import type { Change } from "../../contract/change.ts";
import type { SeriesWithBand } from "../../contract/route.ts";
import { samplePoints } from "../evidence.ts";
import { countOf, formatTime } from "../format.ts";
import { Chart } from "../part/chart.tsx";
import { Changes } from "../part/incident-facts.tsx";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { SpanTable } from "../part/span-table.tsx";
import { Time, useNow } from "../part/time.tsx";
import { TimeAxis } from "../part/time-axis.tsx";
import { useResource } from "../resource.ts";
import { incidentAddress, place, serviceAddress } from "../router.ts";
import { api, windowTick } from "../session.ts";
import { useStore } from "../store.ts";
import { syscallCharts, syscallMetric } from "../syscalls.ts";
import { seriesName } from "../wording.ts";

const liveRangeMs = 900_000;
const seriesMax = 60;
const spansMax = 200;
const linesMax = 200;
const shows = ["series", "syscalls", "spans", "lines"] as const;
type Show = (typeof shows)[number];
const showWords: Record<Show, string> = { series: "series", syscalls: "system calls", spans: "spans", lines: "log lines" };

/** What the address asks for; without a range the screen is live. */
interface View {
  readonly id: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly live: "yes" | "no";
  readonly show: Show;
  readonly traceId: string | null;
  readonly template: string | null;
}

function viewOf(id: string, query: URLSearchParams): View {
  const from = Number(query.get("from"));
  const to = Number(query.get("to"));
  const fixed = query.has("from") && query.has("to") && Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from < to;
  const end = Date.now() + 1;
  return {
    id,
    fromMs: fixed ? from : end - liveRangeMs,
    toMs: fixed ? to : end,
    live: fixed ? "no" : "yes",
    show: shows.find((show) => show === query.get("show")) ?? "series",
    traceId: query.get("trace"),
    template: query.get("template"),
  };
}

export function ServiceScreen(props: { id: string }) {
  const query = useStore(place).query;
  const tick = useStore(windowTick);
  const now = useNow();
  const view = viewOf(props.id, query);
  const liveTick = view.live === "yes" ? tick : 0;
  useEffect(() => {
    document.title = `${props.id} · Headwater`;
  }, [props.id]);
  return (
    <article>
      <ServiceHead view={view} tick={liveTick} now={now} />
      <Switch view={view} now={now} />
      {view.show === "series" ? <SeriesPart view={view} tick={liveTick} now={now} /> : null}
      {view.show === "syscalls" ? <SyscallsPart view={view} tick={liveTick} now={now} /> : null}
      {view.show === "spans" ? <SpansPart view={view} tick={liveTick} now={now} /> : null}
      {view.show === "lines" ? <LinesPart view={view} tick={liveTick} now={now} /> : null}
    </article>
  );
}

function ServiceHead(props: { view: View; tick: number; now: number }) {
  const { view, now } = props;
  const graph = useResource(`graph ${view.live === "yes" ? "now" : view.toMs}`, props.tick, (signal) =>
    api.call("graph", { query: view.live === "yes" ? {} : { atMs: view.toMs }, signal }),
  );
  const overview = useResource("overview", props.tick, (signal) => api.call("overview", { signal }));
  const entity = graph.data?.entities.find((one) => one.id === view.id);
  const callers = graph.data?.dependencies.filter((one) => one.target === view.id && one.source !== view.id) ?? [];
  const callees = graph.data?.dependencies.filter((one) => one.source === view.id && one.target !== view.id) ?? [];
  const incident = overview.data?.services.find((one) => one.entity.id === view.id)?.openIncident ?? null;
  return (
    <header>
      <h1 tabIndex={-1}>{view.id}</h1>
      <Failure error={graph.error} what="The graph" />
      {graph.data === null ? <Waiting what="the graph" /> : null}
      {graph.data !== null && entity === undefined ? <p class="aside">Nothing of this name is in the graph at this moment.</p> : null}
      {entity === undefined ? null : (
        <p class="aside">
          {entity.type}
          {entity.version === null ? "" : ` · version ${entity.version}`}
          {entity.host === null ? "" : ` · on ${entity.host}`}
          {" · last seen "}
          <Time at={entity.lastSeenMs} now={now} />
        </p>
      )}
      {incident === null ? null : (
        <p>
          <a class="tag tag-incident" href={incidentAddress(incident)}>
            in an open incident
          </a>
        </p>
      )}
      <div class="neighbours">
        <Neighbours title="called by" ids={callers.map((one) => ({ id: one.source, protocol: one.protocol }))} view={view} />
        <Neighbours title="calls" ids={callees.map((one) => ({ id: one.target, protocol: one.protocol }))} view={view} />
      </div>
    </header>
  );
}

function Neighbours(props: { title: string; ids: readonly { id: string; protocol: string }[]; view: View }) {
  const query = props.view.live === "yes" ? {} : { from: props.view.fromMs, to: props.view.toMs };
  return (
    <div>
      <h2>{props.title}</h2>
      {props.ids.length === 0 ? <p class="aside">nobody that is known</p> : null}
      <ul class="plain">
        {props.ids.slice(0, 50).map((one) => (
          <li key={one.id}>
            <a class="name" href={serviceAddress(one.id, query)} data-row>
              {one.id}
            </a>{" "}
            <span class="aside">{one.protocol}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Switch(props: { view: View; now: number }) {
  const { view, now } = props;
  const range = view.live === "yes" ? {} : { from: view.fromMs, to: view.toMs };
  return (
    <nav class="switch" aria-label="What is shown of it">
      {shows.map((show) => (
        <a key={show} href={serviceAddress(view.id, { ...range, show })} aria-current={show === view.show ? "page" : undefined}>
          {showWords[show]}
        </a>
      ))}
      {view.live === "yes" ? (
        <span class="aside">live, last 15 min</span>
      ) : (
        <span class="aside">
          {formatTime(view.fromMs, now)} to {formatTime(view.toMs, now)} · <a href={serviceAddress(view.id, { show: view.show })}>now</a>
        </span>
      )}
    </nav>
  );
}

interface PartProps {
  readonly view: View;
  readonly tick: number;
  readonly now: number;
}

function rangeKey(view: View): string {
  return view.live === "yes" ? `${view.id} live` : `${view.id} ${view.fromMs} ${view.toMs}`;
}

function SeriesPart(props: PartProps) {
  const { view, tick, now } = props;
  const { fromMs, toMs, id } = view;
  const read = useResource(`series ${rangeKey(view)}`, tick, async (signal) => {
    const [series, changes] = await Promise.all([
      api.call("series", { query: { fromMs, toMs, entity: id, limit: seriesMax }, signal }),
      api.call("changes", { query: { fromMs, toMs, entity: id, limit: 100 }, signal }),
    ]);
    return { series: series.items, changes: changes.items, fromMs, toMs };
  });
  if (read.data === null) return read.error === null ? <Waiting what="its series" /> : <Failure error={read.error} what="Its series" />;
  const { series, changes } = read.data;
  const charts = series.filter((one) => one.samples.length > 0);
  return (
    <>
      <Failure error={read.error} what="The newest samples" />
      {charts.length === 0 ? (
        <Empty title="No samples in this range.">
          <p>Metrics and spans of this service make series here, one value per window.</p>
        </Empty>
      ) : (
        <TimeAxis fromMs={read.data.fromMs} toMs={read.data.toMs} onsetMs={null} changes={changes} now={now} />
      )}
      {charts.map((one) => (
        <ServiceChart
          key={`${one.key.metric} ${one.key.statistic} ${one.key.attributes}`}
          name={seriesName(one.key)}
          series={one}
          range={read.data ?? view}
          changes={changes}
          now={now}
        />
      ))}
      {series.length === seriesMax ? <p class="aside">The first {seriesMax} series are shown.</p> : null}
      <h2>Changes</h2>
      {changes.length === 0 ? <p class="aside">None in this range.</p> : <Changes changes={changes} now={now} />}
    </>
  );
}

/** How often the service makes each system call. */
function SyscallsPart(props: PartProps) {
  const { view, tick, now } = props;
  const { fromMs, toMs, id } = view;
  const read = useResource(`syscalls ${rangeKey(view)}`, tick, async (signal) => {
    const series = await api.call("series", { query: { fromMs, toMs, entity: id, metric: syscallMetric, limit: seriesMax }, signal });
    return { charts: syscallCharts(series.items), fromMs, toMs };
  });
  if (read.data === null) {
    return read.error === null ? <Waiting what="its system calls" /> : <Failure error={read.error} what="Its system calls" />;
  }
  const { charts, ...range } = read.data;
  return (
    <>
      <Failure error={read.error} what="The newest samples" />
      {charts.length === 0 ? (
        <Empty title="No system calls in this range.">
          <p>
            An agent on the host of this service counts them: <code>headwater agent</code>, and <code>headwater doctor</code> says what it
            lacks.
          </p>
        </Empty>
      ) : (
        <TimeAxis fromMs={range.fromMs} toMs={range.toMs} onsetMs={null} changes={[]} now={now} />
      )}
      {charts.map(({ name, series }) => (
        <ServiceChart key={name} name={name} series={series} range={range} changes={[]} now={now} />
      ))}
    </>
  );
}

interface ServiceChartProps {
  readonly name: string;
  readonly series: SeriesWithBand;
  readonly range: { readonly fromMs: number; readonly toMs: number };
  readonly changes: readonly Change[];
  readonly now: number;
}

function ServiceChart(props: ServiceChartProps) {
  const { name, series, range, changes, now } = props;
  return (
    <figure>
      <figcaption>
        <span class="caption-name">{name}</span>
        <span class="aside">
          {series.state}
          {series.readyAtMs === null ? "" : ` until ${formatTime(series.readyAtMs, now)}`}
        </span>
      </figcaption>
      <Chart
        label={name}
        points={samplePoints(series)}
        unit={series.unit}
        fromMs={range.fromMs}
        toMs={range.toMs}
        onsetMs={null}
        changesMs={changes.map((change) => change.atMs)}
      />
    </figure>
  );
}

function SpansPart(props: PartProps) {
  const { view, tick, now } = props;
  const { fromMs, toMs, id, traceId } = view;
  const read = useResource(`spans ${rangeKey(view)} ${traceId ?? ""}`, tick, (signal) =>
    api.call("spans", { query: { fromMs, toMs, limit: spansMax, ...(traceId === null ? { entity: id } : { traceId }) }, signal }),
  );
  if (read.data === null) return read.error === null ? <Waiting what="its spans" /> : <Failure error={read.error} what="Its spans" />;
  const spans = read.data.items;
  return (
    <>
      {traceId === null ? null : (
        <p>
          Trace <code>{traceId}</code> · <a href={serviceAddress(id, { from: fromMs, to: toMs, show: "spans" })}>all spans</a>
        </p>
      )}
      <p class="aside">
        {spans.length === spansMax ? `The first ${spansMax}` : countOf(spans.length, "kept span")}: every failed one, the slowest, and a
        sample of the others.
      </p>
      {spans.length === 0 ? (
        <Empty title="No spans in this range." />
      ) : (
        <SpanTable spans={spans} range={{ from: Math.trunc(fromMs), to: Math.trunc(toMs) }} traceId={traceId} now={now} />
      )}
    </>
  );
}

function LinesPart(props: PartProps) {
  const { view, tick, now } = props;
  const { fromMs, toMs, id, template } = view;
  const read = useResource(`lines ${rangeKey(view)} ${template ?? ""}`, tick, (signal) =>
    api.call("lines", { query: { fromMs, toMs, entity: id, limit: linesMax, ...(template === null ? {} : { template }) }, signal }),
  );
  if (read.data === null)
    return read.error === null ? <Waiting what="its log lines" /> : <Failure error={read.error} what="Its log lines" />;
  const lines = read.data.items;
  return (
    <>
      {template === null ? null : (
        <p>
          Lines of one template · <a href={serviceAddress(id, { from: fromMs, to: toMs, show: "lines" })}>all lines</a>
        </p>
      )}
      <p class="aside">
        {lines.length === linesMax ? `The first ${linesMax}` : countOf(lines.length, "kept line")}: error lines, and a sample of the others.
      </p>
      {lines.length === 0 ? <Empty title="No log lines in this range." /> : null}
      <ol class="plain log">
        {lines.map((line, index) => (
          <li key={`${line.atUs} ${index}`}>
            <span class="aside">
              {formatTime(line.atUs / 1_000, now)} {line.severity}
            </span>{" "}
            <code>{line.body}</code>
          </li>
        ))}
      </ol>
    </>
  );
}
