/** The handler of each row of the API table; the compiler refuses a row without one. */
import type { RouteName } from "../../contract/route.ts";
import type { Handler } from "./handler.ts";
import { acknowledge } from "./route/acknowledge.ts";
import { changes } from "./route/changes.ts";
import { deadLetters } from "./route/dead-letters.ts";
import { dropDeadLetter } from "./route/drop-dead-letter.ts";
import { graph } from "./route/graph.ts";
import { graphDiff } from "./route/graph-diff.ts";
import { incident } from "./route/incident.ts";
import { incidentEvents } from "./route/incident-events.ts";
import { incidentEvidence } from "./route/incident-evidence.ts";
import { incidents } from "./route/incidents.ts";
import { lines } from "./route/lines.ts";
import { overview } from "./route/overview.ts";
import { resolve } from "./route/resolve.ts";
import { retryDeadLetter } from "./route/retry-dead-letter.ts";
import { series } from "./route/series.ts";
import { services } from "./route/services.ts";
import { spans } from "./route/spans.ts";
import { verdicts } from "./route/verdicts.ts";

export const handlers: { readonly [R in RouteName]: Handler<R> } = {
  overview,
  services,
  incidents,
  incident,
  incidentEvents,
  incidentEvidence,
  acknowledge,
  resolve,
  verdicts,
  graph,
  graphDiff,
  series,
  spans,
  lines,
  changes,
  deadLetters,
  retryDeadLetter,
  dropDeadLetter,
};
