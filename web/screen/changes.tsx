/** What somebody or something did, newest first. */
import { useEffect, useState } from "preact/hooks";
import { Command } from "../part/command.tsx";
import { Changes } from "../part/incident-facts.tsx";
import { Empty, Failure, Waiting } from "../part/notice.tsx";
import { isFound, SearchField } from "../part/search-field.tsx";
import { useNow } from "../part/time.tsx";
import { useResource } from "../resource.ts";
import { api, windowTick } from "../session.ts";
import { useStore } from "../store.ts";

const changesMax = 500;

export function ChangesScreen() {
  const tick = useStore(windowTick);
  const now = useNow();
  const [search, setSearch] = useState("");
  const read = useResource("changes", tick, (signal) => api.call("changes", { query: { limit: changesMax }, signal }));
  useEffect(() => {
    document.title = "Changes · Headwater";
  }, []);
  const found = read.data?.items.filter((change) => isFound(`${change.entity} ${change.kind} ${change.summary}`, search)) ?? [];
  return (
    <>
      <h1 tabIndex={-1}>Changes</h1>
      <Failure error={read.error} what="The changes" />
      {read.data === null && read.error === null ? <Waiting what="the changes" /> : null}
      {read.data?.items.length === 0 ? <NoChanges /> : null}
      {read.data !== null && read.data.items.length > 0 ? (
        <>
          <SearchField what="changes" search={search} onSearch={setSearch} />
          {found.length === 0 ? <p class="aside">No change matches “{search}”.</p> : <Changes changes={found} now={now} />}
        </>
      ) : null}
    </>
  );
}

function NoChanges() {
  const overview = useResource("overview", 0, (signal) => api.call("overview", { signal }));
  const url = overview.data?.otlpUrl ?? "http://127.0.0.1:4318";
  const event = `{"specversion":"1.0","id":"deploy-1","source":"/ci","type":"headwater.change.deploy","subject":"my-service","time":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'","data":{"summary":"my-service 1.0 to 1.1","actor":"ci"}}`;
  return (
    <Empty title="No change was announced yet.">
      <p>Deploys, flags, configuration and restarts sent as CloudEvents are laid beside every incident. For example from a pipeline:</p>
      <Command text={`curl -i ${url}/v1/changes -H 'content-type: application/cloudevents+json' -d '${event}'`} />
    </Empty>
  );
}
