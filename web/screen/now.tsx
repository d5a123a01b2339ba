/** The first screen: what is wrong with Headwater itself, what burns, what arrives and from whom, what is still learning, what is not linked and why. */
import { useEffect } from "preact/hooks";
import type { Overview } from "../../contract/route.ts";
import { countOf } from "../format.ts";
import { Command } from "../part/command.tsx";
import { IncidentRow } from "../part/incident-row.tsx";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { ProcessLine, ProcessTable } from "../part/process-table.tsx";
import { ServiceTable } from "../part/service-table.tsx";
import { Time, useNow } from "../part/time.tsx";
import { ConnectionTrouble, TroubleList } from "../part/trouble-list.tsx";
import { useResource } from "../resource.ts";
import { serviceAddress } from "../router.ts";
import { api, incidentTick, installationTick, windowTick } from "../session.ts";
import { useStore } from "../store.ts";

export function NowScreen() {
  const tick = useStore(windowTick) + useStore(incidentTick) + useStore(installationTick);
  const now = useNow();
  const overview = useResource("overview", tick, (signal) => api.call("overview", { signal }));
  const open = overview.data?.openIncidents.length ?? 0;
  const stopped = overview.data === null ? 0 : stoppedOf(overview.data);
  useEffect(() => {
    const parts = [open > 0 ? `${open} open` : null, stopped > 0 ? `${stopped} not working` : null, "Headwater"];
    document.title = parts.filter((part) => part !== null).join(" · ");
  }, [open, stopped]);
  return (
    <>
      <h1 tabIndex={-1}>Now</h1>
      <ConnectionTrouble overview={overview.data} now={now} />
      <Failure error={overview.error} what="The overview" />
      {overview.data === null ? <Waiting what="what arrives" /> : <Content overview={overview.data} now={now} />}
    </>
  );
}

function Content(props: { overview: Overview; now: number }) {
  const { overview, now } = props;
  const connected = overview.services.length > 0 || overview.seriesCount > 0;
  return (
    <>
      <TroubleList troubles={overview.troubles} now={now} />
      {overview.processes.length > 1 ? <ProcessTable processes={overview.processes} now={now} /> : null}
      {connected ? <Figures overview={overview} now={now} /> : null}
      <section aria-label="Open incidents">
        {overview.openIncidents.length > 0 ? (
          <ul class="incidents">
            {overview.openIncidents.map((incident) => (
              <IncidentRow key={incident.id} incident={incident} now={now} />
            ))}
          </ul>
        ) : null}
        {connected && overview.openIncidents.length === 0 ? <NoIncident overview={overview} /> : null}
      </section>
      {connected ? <Services overview={overview} now={now} /> : <NotConnected overview={overview} />}
      {overview.recentIncidents.length > 0 ? (
        <section>
          <h2>Recent incidents</h2>
          <ul class="incidents">
            {overview.recentIncidents.map((incident) => (
              <IncidentRow key={incident.id} incident={incident} now={now} />
            ))}
          </ul>
        </section>
      ) : null}
      {overview.processes.length === 1 ? <ProcessLine processes={overview.processes} /> : null}
    </>
  );
}

function stoppedOf(overview: Overview): number {
  return overview.troubles.filter(({ weight }) => weight === "stopped").length;
}

/** Nobody is told that nothing burns while a part that would see it does not work. */
function NoIncident(props: { overview: Overview }) {
  if (stoppedOf(props.overview) > 0) {
    return (
      <Empty title="No incident is open.">
        <p>Whether something burns cannot be told while a part of Headwater does not work; see above.</p>
      </Empty>
    );
  }
  return (
    <Empty title="Nothing is burning.">
      <p>An incident opens when an objective of an entry service burns; it will appear here with its cause first.</p>
    </Empty>
  );
}

/** Nothing that could not be read is taken for nothing that is there. */
function NotConnected(props: { overview: Overview }) {
  if (props.overview.unread.length === 0) return <NothingConnected overview={props.overview} />;
  return (
    <Empty title="What arrives is not known yet.">
      <p>It is shown as soon as the stores can be read.</p>
    </Empty>
  );
}

function Figures(props: { overview: Overview; now: number }) {
  const { overview, now } = props;
  const open = overview.openIncidents.length;
  return (
    <dl class="figures">
      <div>
        <dt>open</dt>
        <dd>{countOf(open, "incident")}</dd>
      </div>
      <div>
        <dt>arriving from</dt>
        <dd>{countOf(overview.services.length, "service")}</dd>
      </div>
      <div>
        <dt>newest window</dt>
        <dd>{overview.newestWindowMs === null ? "none yet" : <Time at={overview.newestWindowMs + overview.windowMs} now={now} />}</dd>
      </div>
      <div>
        <dt>learning</dt>
        <dd>
          {overview.learningCount === 0
            ? `nothing: all ${overview.seriesCount} series known`
            : `${overview.learningCount} of ${overview.seriesCount} series`}
          {overview.readyAtMs === null ? null : (
            <>
              {", until "}
              <Time at={overview.readyAtMs} now={now} />
            </>
          )}
        </dd>
      </div>
      <div>
        <dt>not linked</dt>
        <dd>{overview.unlinked.length === 0 ? "none" : countOf(overview.unlinked.length, "service")}</dd>
      </div>
    </dl>
  );
}

function Services(props: { overview: Overview; now: number }) {
  const { overview, now } = props;
  return (
    <>
      <section>
        <h2>What arrives, and from whom</h2>
        <ServiceTable services={overview.services} now={now} />
      </section>
      {overview.unlinked.length > 0 ? (
        <section>
          <h2>Not linked, and why</h2>
          <ul class="plain">
            {overview.unlinked.slice(0, 50).map((one) => (
              <li key={one.entity} class="unlinked">
                <a class="name" href={serviceAddress(one.entity)}>
                  {one.entity}
                </a>
                <p>{one.why}</p>
                <Command text={one.command} />
              </li>
            ))}
          </ul>
        </section>
      ) : null}
    </>
  );
}

function NothingConnected(props: { overview: Overview }) {
  const url = props.overview.otlpUrl;
  return (
    <section>
      <Empty title="Nothing arrives yet.">
        <p>Headwater is running and listens for OpenTelemetry at {url}. Three ways to begin:</p>
      </Empty>
      <h2>Point a service at it</h2>
      <p>Any OpenTelemetry SDK sends here with these variables; name the service, so that it can be found.</p>
      <Command
        text={`export OTEL_EXPORTER_OTLP_ENDPOINT=${url}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=my-service`}
      />
      <h2>Or see that it takes a span</h2>
      <Command text={curlOf(url)} />
      <h2>Or watch it find a fault</h2>
      <p>Starts a small shop, breaks one of its services and says which, in about a minute and a half.</p>
      <Command text="npm run demo" />
    </section>
  );
}

function curlOf(url: string): string {
  const span =
    '{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"GET /","kind":2,"startTimeUnixNano":"\'$(date +%s)\'000000000","endTimeUnixNano":"\'$(date +%s)\'050000000"}';
  const body = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"hello"}}]},"scopeSpans":[{"spans":[${span}]}]}]}`;
  return `curl -i ${url}/v1/traces -H 'content-type: application/json' -d '${body}'`;
}
