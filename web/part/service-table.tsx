/** Who sends telemetry, and how they are; always in the order of their names, so that no row moves. */
import { useState } from "preact/hooks";
import type { ServiceSummary } from "../../contract/route.ts";
import { countOf, formatNumber, formatSeconds, formatShare } from "../format.ts";
import { incidentAddress, serviceAddress } from "../router.ts";
import { isFound, SearchField } from "./search-field.tsx";
import { Time } from "./time.tsx";

/** Rows drawn at first; the search finds the others. */
const rowsMax = 500;

export function ServiceTable(props: { services: readonly ServiceSummary[]; now: number }) {
  const [search, setSearch] = useState("");
  const found = props.services.filter((service) => isFound(service.entity.id, search));
  return (
    <>
      <SearchField what="services" search={search} onSearch={setSearch} />
      <div class="scroll">
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">service</th>
              <th scope="col" class="figure">
                requests
              </th>
              <th scope="col" class="figure">
                failed
              </th>
              <th scope="col" class="figure">
                p95
              </th>
              <th scope="col">callers → callees</th>
              <th scope="col">normal is</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, rowsMax).map((service) => (
              <ServiceRow key={service.entity.id} service={service} now={props.now} />
            ))}
          </tbody>
        </table>
      </div>
      {found.length === 0 ? <p class="aside">No service has “{search}” in its name.</p> : null}
      {found.length > rowsMax ? <p class="aside">{found.length - rowsMax} more: search by name.</p> : null}
    </>
  );
}

function ServiceRow(props: { service: ServiceSummary; now: number }) {
  const { service, now } = props;
  const { entity } = service;
  return (
    <tr>
      <th scope="row">
        <a class="name" href={serviceAddress(entity.id)} title={entity.id} data-row>
          {entity.id}
        </a>
        {entity.entry ? <span class="tag">entry</span> : null}
        {service.openIncident === null ? null : (
          <a class="tag tag-incident" href={incidentAddress(service.openIncident)}>
            in an incident
          </a>
        )}
      </th>
      <td class="figure" data-label="requests">
        {service.requestsPerSecond === null ? <None /> : `${formatNumber(service.requestsPerSecond)} /s`}
      </td>
      <td class="figure" data-label="failed">
        {service.errorRatio === null ? <None /> : formatShare(service.errorRatio)}
      </td>
      <td class="figure" data-label="p95">
        {service.p95Seconds === null ? <None /> : formatSeconds(service.p95Seconds)}
      </td>
      <td data-label="callers → callees">
        {service.callerCount} → {service.calleeCount}
      </td>
      <td data-label="normal is">
        <Learning service={service} now={now} />
      </td>
    </tr>
  );
}

function None() {
  return <span class="aside">none</span>;
}

function Learning(props: { service: ServiceSummary; now: number }) {
  const { seriesCount, learningCount, readyAtMs } = props.service;
  if (seriesCount === 0) return <span class="aside">no series yet</span>;
  if (learningCount === 0) return <>known for {countOf(seriesCount, "series", "series")}</>;
  return (
    <>
      learning {learningCount} of {seriesCount}
      {readyAtMs === null ? null : (
        <>
          {" until "}
          <Time at={readyAtMs} now={props.now} />
        </>
      )}
    </>
  );
}
