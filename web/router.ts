/** Addresses without hashes: each screen has one, and a link to it can be sent. */
import { createStore } from "./store.ts";

/** Path and query of the page. */
export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
}

export type Route =
  | { readonly screen: "now" | "incidents" | "map" | "changes" | "unknown" }
  | { readonly screen: "incident" | "service"; readonly id: string };

function readPlace(): Place {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

/** Where the page is. */
export const place = createStore<Place>(readPlace());

/** Which screen an address shows. */
export function routeOf(path: string): Route {
  const [first = "", second, ...rest] = path.split("/").slice(1);
  if (rest.length > 0) return { screen: "unknown" };
  if (second !== undefined && second !== "") {
    const id = decode(second);
    if (first === "incidents" && id !== null) return { screen: "incident", id };
    if (first === "services" && id !== null) return { screen: "service", id };
    return { screen: "unknown" };
  }
  if (first === "" || first === "services") return { screen: "now" };
  if (first === "incidents" || first === "map" || first === "changes") return { screen: first };
  return { screen: "unknown" };
}

function decode(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

export function incidentAddress(id: string, query: Readonly<Record<string, string | number>> = {}): string {
  return withQuery(`/incidents/${encodeURIComponent(id)}`, query);
}

export function serviceAddress(id: string, query: Readonly<Record<string, string | number>> = {}): string {
  return withQuery(`/services/${encodeURIComponent(id)}`, query);
}

function withQuery(path: string, query: Readonly<Record<string, string | number>>): string {
  const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
  return search === "" ? path : `${path}?${search}`;
}

/** Goes to an address; `replace` leaves no step behind for the back button. */
export function navigate(address: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  place.set(readPlace());
  if (how === "push") scrollTo(0, 0);
}

/** Follows the back button, and plain clicks on links of ours. */
export function watchNavigation(): () => void {
  const onPop = (): void => place.set(readPlace());
  const onClick = (event: MouseEvent): void => {
    const address = ownAddress(event);
    if (address === null) return;
    event.preventDefault();
    navigate(address);
  };
  addEventListener("popstate", onPop);
  document.addEventListener("click", onClick);
  return () => {
    removeEventListener("popstate", onPop);
    document.removeEventListener("click", onClick);
  };
}

function ownAddress(event: MouseEvent): string | null {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
  const link = (event.target as Element | null)?.closest?.("a");
  if (!(link instanceof HTMLAnchorElement) || link.target !== "" || link.hasAttribute("download")) return null;
  if (link.origin !== location.origin || link.pathname.startsWith("/api/")) return null;
  return link.pathname + link.search;
}
