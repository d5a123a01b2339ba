/** All incidents, newest first. New ones wait behind a line, so that nothing moves under the finger. */
import { useEffect, useState } from "preact/hooks";
import type { IncidentSummary } from "../../contract/route.ts";
import { IncidentRow } from "../part/incident-row.tsx";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { isFound, SearchField } from "../part/search-field.tsx";
import { useNow } from "../part/time.tsx";
import { navigate, place } from "../router.ts";
import { api, changedIncident } from "../session.ts";
import { useStore } from "../store.ts";

const pageSize = 100;
const statuses = ["open", "acknowledged", "mitigated", "resolved", "reviewed"] as const;
type Status = (typeof statuses)[number];

function statusOf(text: string | null): Status | null {
  return statuses.find((status) => status === text) ?? null;
}

export function IncidentsScreen() {
  const status = statusOf(useStore(place).query.get("status"));
  const [search, setSearch] = useState("");
  const now = useNow();
  useEffect(() => {
    document.title = "Incidents · Headwater";
  }, []);
  return (
    <>
      <h1 tabIndex={-1}>Incidents</h1>
      <div class="filters">
        <SearchField what="incidents" search={search} onSearch={setSearch} />
        <label>
          status{" "}
          <select
            value={status ?? ""}
            onChange={(event) =>
              navigate(event.currentTarget.value === "" ? "/incidents" : `/incidents?status=${event.currentTarget.value}`, "replace")
            }
          >
            <option value="">any</option>
            {statuses.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
      </div>
      <IncidentList key={status ?? "any"} status={status} search={search} now={now} />
    </>
  );
}

interface Listed {
  readonly items: readonly IncidentSummary[];
  readonly nextCursor: string | null;
}

function IncidentList(props: { status: Status | null; search: string; now: number }) {
  const [listed, setListed] = useState<Listed | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [waiting, setWaiting] = useState<readonly IncidentSummary[]>([]);
  const changed = useStore(changedIncident);
  const filter = props.status === null ? {} : { status: props.status };

  const read = (cursor: string | null, before: readonly IncidentSummary[]): void => {
    const query = { ...filter, limit: pageSize, ...(cursor === null ? {} : { cursor }) };
    api.call("incidents", { query }).then(
      (page) => {
        setError(null);
        setListed({ items: [...before, ...page.items], nextCursor: page.nextCursor });
        if (cursor === null) setWaiting([]);
      },
      (failure: Error) => setError(failure),
    );
  };
  useEffect(() => read(null, []), []);
  useEffect(() => {
    if (changed === null || listed === null) return;
    const known = listed.items.some((incident) => incident.id === changed.id);
    if (known) setListed({ ...listed, items: listed.items.map((incident) => (incident.id === changed.id ? changed : incident)) });
    else if (props.status === null || props.status === changed.status) {
      setWaiting((before) => [changed, ...before.filter((incident) => incident.id !== changed.id)].slice(0, pageSize));
    }
  }, [changed]);

  if (listed === null) return error === null ? <Waiting what="incidents" /> : <Failure error={error} what="The incidents" />;
  const shown = listed.items.filter((incident) => isFound(`INC-${incident.number} ${incident.sentence}`, props.search));
  return (
    <>
      <Failure error={error} what="More incidents" />
      <div class="arrivals" aria-live="polite">
        {waiting.length === 0 ? null : (
          <button type="button" onClick={() => read(null, [])}>
            {waiting.length} new · show
          </button>
        )}
      </div>
      {shown.length === 0 ? (
        <Empty title={listed.items.length === 0 ? "No incidents." : `None of them matches “${props.search}”.`}>
          {listed.items.length === 0 ? (
            <p>When an objective of an entry service burns, an incident opens and is kept here for a year.</p>
          ) : null}
        </Empty>
      ) : (
        <ul class="incidents">
          {shown.map((incident) => (
            <IncidentRow key={incident.id} incident={incident} now={props.now} />
          ))}
        </ul>
      )}
      {listed.nextCursor === null ? null : (
        <button type="button" onClick={() => read(listed.nextCursor, listed.items)}>
          Older incidents
        </button>
      )}
    </>
  );
}
