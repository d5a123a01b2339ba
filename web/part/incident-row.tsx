/** An incident in a list. */
import type { IncidentSummary } from "../../contract/route.ts";
import { formatLength } from "../format.ts";
import { incidentAddress } from "../router.ts";
import { impactSentence, worstFirst } from "../wording.ts";
import { Time } from "./time.tsx";

export function IncidentRow(props: { incident: IncidentSummary; now: number }) {
  const { incident, now } = props;
  const open = incident.resolvedMs === null;
  const impacts = worstFirst(incident.impacts).slice(0, 2);
  return (
    <li class={`incident-row ${open ? "incident-open" : ""}`}>
      <a href={incidentAddress(incident.id)} data-row>
        <span class="incident-line">
          <span class="number">INC-{incident.number}</span>
          <span class="severity">{incident.severity}</span>
          <span class="status">{incident.status}</span>
        </span>
        <strong class="sentence">{incident.sentence}</strong>
        <span class="aside">
          {impacts.map((impact) => impactSentence(impact)).join(" · ")}
          {impacts.length === 0 ? "" : " · "}
          since <Time at={incident.onsetMs} now={now} />
          {incident.resolvedMs === null ? "" : ` · lasted ${formatLength(incident.resolvedMs - incident.onsetMs)}`}
        </span>
      </a>
    </li>
  );
}
