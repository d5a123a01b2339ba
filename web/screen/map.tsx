/** The whole graph as of a moment, and what is different from another one. Cytoscape is loaded when this screen opens. */
import { useEffect, useState } from "preact/hooks";
import type { RouteResponse } from "../../contract/route.ts";
import { countOf, formatTime } from "../format.ts";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { useNow } from "../part/time.tsx";
import { WholeMap } from "../part/whole-map.tsx";
import { useResource } from "../resource.ts";
import { navigate, place, serviceAddress } from "../router.ts";
import { api, windowTick } from "../session.ts";
import { useStore } from "../store.ts";

const listedMax = 500;

export function MapScreen() {
  const query = useStore(place).query;
  const tick = useStore(windowTick);
  const now = useNow();
  const atMs = momentOf(query.get("at"));
  const sinceMs = momentOf(query.get("since"));
  useEffect(() => {
    document.title = "Map · Headwater";
  }, []);
  const graph = useResource(`map ${atMs ?? "now"}`, atMs === null ? tick : 0, (signal) =>
    api.call("graph", { query: atMs === null ? {} : { atMs }, signal }),
  );
  return (
    <>
      <h1 tabIndex={-1}>Map</h1>
      <Moments atMs={atMs} sinceMs={sinceMs} />
      <Failure error={graph.error} what="The graph" />
      {graph.data === null && graph.error === null ? <Waiting what="the graph" /> : null}
      {sinceMs === null ? null : <Differences sinceMs={sinceMs} atMs={atMs} now={now} />}
      {graph.data === null ? null : <Drawn graph={graph.data} />}
    </>
  );
}

function momentOf(text: string | null): number | null {
  const atMs = text === null ? Number.NaN : Number(text);
  return Number.isSafeInteger(atMs) && atMs > 0 ? atMs : null;
}

/** Choosing moments by the clock of this browser. */
function Moments(props: { atMs: number | null; sinceMs: number | null }) {
  const go = (changed: { at?: number | null; since?: number | null }): void => {
    const at = changed.at === undefined ? props.atMs : changed.at;
    const since = changed.since === undefined ? props.sinceMs : changed.since;
    const search = new URLSearchParams({
      ...(at === null ? {} : { at: String(at) }),
      ...(since === null ? {} : { since: String(since) }),
    }).toString();
    navigate(search === "" ? "/map" : `/map?${search}`, "replace");
  };
  return (
    <div class="filters">
      <Moment label="as of" atMs={props.atMs} onChange={(at) => go({ at })} />
      <Moment label="compared with" atMs={props.sinceMs} onChange={(since) => go({ since })} />
      <button type="button" onClick={() => go({ since: (props.atMs ?? Date.now()) - 900_000 })}>
        15 min before
      </button>
      <button type="button" onClick={() => go({ at: null, since: null })}>
        Now
      </button>
    </div>
  );
}

function Moment(props: { label: string; atMs: number | null; onChange: (atMs: number | null) => void }) {
  return (
    <label>
      {props.label}{" "}
      <input
        type="datetime-local"
        step="1"
        value={localText(props.atMs)}
        onChange={(event) => props.onChange(fromLocalText(event.currentTarget.value))}
      />
    </label>
  );
}

function localText(atMs: number | null): string {
  if (atMs === null) return "";
  const at = new Date(atMs);
  return new Date(atMs - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function fromLocalText(text: string): number | null {
  const atMs = new Date(text).getTime();
  return Number.isNaN(atMs) ? null : atMs;
}

function Differences(props: { sinceMs: number; atMs: number | null; now: number }) {
  const [untilMs] = useState(Date.now());
  const toMs = props.atMs ?? untilMs;
  const fromMs = Math.min(props.sinceMs, toMs);
  const diff = useResource(`diff ${fromMs} ${toMs}`, 0, (signal) => api.call("graphDiff", { query: { fromMs, toMs }, signal }));
  if (diff.data === null) return <Failure error={diff.error} what="The difference" />;
  const rows = [
    ...diff.data.entitiesAdded.map((one) => `+ ${one.type} ${one.id}`),
    ...diff.data.entitiesRemoved.map((one) => `− ${one.type} ${one.id}`),
    ...diff.data.dependenciesAdded.map((one) => `+ ${one.source} → ${one.target} (${one.protocol})`),
    ...diff.data.dependenciesRemoved.map((one) => `− ${one.source} → ${one.target} (${one.protocol})`),
  ];
  return (
    <section>
      <h2>Different since {formatTime(fromMs, props.now)}</h2>
      {rows.length === 0 ? <p class="aside">Nothing came and nothing went.</p> : null}
      <ul class="plain">
        {rows.slice(0, listedMax).map((row) => (
          <li key={row}>{row}</li>
        ))}
      </ul>
    </section>
  );
}

function Drawn(props: { graph: RouteResponse<"graph"> }) {
  const { graph } = props;
  if (graph.entities.length === 0) {
    return (
      <Empty title="The map is empty at this moment.">
        <p>Services appear as soon as their telemetry arrives; dependencies when both sides of a call share a trace.</p>
      </Empty>
    );
  }
  return (
    <>
      <p class="aside">
        {countOf(graph.entities.length, "entity", "entities")}, {countOf(graph.dependencies.length, "dependency", "dependencies")}
      </p>
      <WholeMap graph={graph} />
      <h2>As a list</h2>
      <div class="scroll">
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">caller</th>
              <th scope="col">callee</th>
              <th scope="col">protocol</th>
              <th scope="col">learned from</th>
            </tr>
          </thead>
          <tbody>
            {graph.dependencies.slice(0, listedMax).map((one) => (
              <tr key={`${one.id} ${one.protocol}`}>
                <th scope="row">
                  <a class="name" href={serviceAddress(one.source)} data-row>
                    {one.source}
                  </a>
                </th>
                <td data-label="calls">
                  <a class="name" href={serviceAddress(one.target)}>
                    {one.target}
                  </a>
                </td>
                <td data-label="protocol">{one.protocol}</td>
                <td data-label="learned from">{one.learnedFrom}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
