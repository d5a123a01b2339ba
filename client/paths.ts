/** Method and path of every route, as plain values: importing `contract/route.ts` itself would bring zod into the page. */
import type { RouteName, routes } from "../contract/route.ts";

/** The compiler compares this with the API table, literal by literal. */
export const paths = {
  overview: { method: "GET", path: "/api/v1/overview" },
  services: { method: "GET", path: "/api/v1/services" },
  incidents: { method: "GET", path: "/api/v1/incidents" },
  incident: { method: "GET", path: "/api/v1/incidents/:incident" },
  incidentEvents: { method: "GET", path: "/api/v1/incidents/:incident/events" },
  incidentEvidence: { method: "GET", path: "/api/v1/incidents/:incident/evidence" },
  acknowledge: { method: "POST", path: "/api/v1/incidents/:incident/acknowledge" },
  resolve: { method: "POST", path: "/api/v1/incidents/:incident/resolve" },
  verdicts: { method: "GET", path: "/api/v1/incidents/:incident/verdicts" },
  graph: { method: "GET", path: "/api/v1/graph" },
  graphDiff: { method: "GET", path: "/api/v1/graph/diff" },
  series: { method: "GET", path: "/api/v1/series" },
  spans: { method: "GET", path: "/api/v1/spans" },
  lines: { method: "GET", path: "/api/v1/lines" },
  changes: { method: "GET", path: "/api/v1/changes" },
  deadLetters: { method: "GET", path: "/api/v1/dead-letters" },
  retryDeadLetter: { method: "POST", path: "/api/v1/dead-letters/:id/retry" },
  dropDeadLetter: { method: "POST", path: "/api/v1/dead-letters/:id/drop" },
} as const satisfies { readonly [R in RouteName]: Pick<(typeof routes)[R], "method" | "path"> };

/** The path with its parameters filled in and encoded. */
export function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/:([A-Za-z]+)/g, (_whole, name: string) => encodeURIComponent(params[name] ?? ""));
}
