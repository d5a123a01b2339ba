/** The frame around all screens: where one is, whether the page is live, keys. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { ConnectionState } from "../client/live.ts";
import { watchKeys } from "./keyboard.ts";
import { Help } from "./part/help.tsx";
import { Empty } from "./part/notice.tsx";
import { TokenGate } from "./part/token-gate.tsx";
import { place, type Route, routeOf, watchNavigation } from "./router.ts";
import { ChangesScreen } from "./screen/changes.tsx";
import { IncidentScreen } from "./screen/incident.tsx";
import { IncidentsScreen } from "./screen/incidents.tsx";
import { MapScreen } from "./screen/map.tsx";
import { NowScreen } from "./screen/now.tsx";
import { ServiceScreen } from "./screen/service.tsx";
import { connect, connection, tokenWanted } from "./session.ts";
import { useStore } from "./store.ts";

const links = [
  ["/", "Now", "now"],
  ["/incidents", "Incidents", "incidents"],
  ["/map", "Map", "map"],
  ["/changes", "Changes", "changes"],
] as const;

export function App() {
  const { path } = useStore(place);
  const wanted = useStore(tokenWanted);
  const [help, setHelp] = useState<"open" | "closed">("closed");
  const route = routeOf(path);
  useEffect(() => watchNavigation(), []);
  useEffect(() => watchKeys(() => setHelp("open")), []);
  useEffect(() => connect(), []);
  useFocusOnScreen(path);
  return (
    <>
      <header class="frame">
        <a class="brand" href="/">
          Headwater
        </a>
        <nav aria-label="Screens">
          {links.map(([address, word, screen]) => (
            <a key={address} href={address} aria-current={route.screen === screen ? "page" : undefined}>
              {word}
            </a>
          ))}
        </nav>
        <LiveMark />
        <button type="button" class="help" onClick={() => setHelp("open")} aria-label="Keys">
          ?
        </button>
      </header>
      <main>{wanted === "yes" ? <TokenGate /> : <Screen route={route} />}</main>
      {help === "open" ? <Help onClose={() => setHelp("closed")} /> : null}
    </>
  );
}

function Screen(props: { route: Route }) {
  const { route } = props;
  if (route.screen === "now") return <NowScreen />;
  if (route.screen === "incidents") return <IncidentsScreen />;
  if (route.screen === "incident") return <IncidentScreen key={route.id} id={route.id} />;
  if (route.screen === "service") return <ServiceScreen key={route.id} id={route.id} />;
  if (route.screen === "map") return <MapScreen />;
  if (route.screen === "changes") return <ChangesScreen />;
  return (
    <Empty title="There is no such page.">
      <p>
        <a href="/">To what happens now</a>
      </p>
    </Empty>
  );
}

/** After a step to another screen its heading has the focus, as after a page load; not at the first one. */
function useFocusOnScreen(path: string): void {
  const first = useRef(path);
  useEffect(() => {
    if (first.current === path) return;
    first.current = "";
    document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
  }, [path]);
}

const words: Record<ConnectionState, string> = {
  connecting: "connecting …",
  live: "live",
  reconnecting: "reconnecting …",
  refused: "token refused",
  closed: "not live",
};

function LiveMark() {
  const state = useStore(connection);
  return (
    <span class={`live live-${state}`} role="status">
      <span aria-hidden="true">{state === "live" ? "●" : "○"}</span> {words[state]}
    </span>
  );
}
