/** What a route's handler gets and answers; one file a route in `route/`. */
import type { z } from "zod";
import type { Clock, EventStore, GraphStore, Queue, TelemetryStore } from "../../contract/port.ts";
import type { Overview, RouteName, RouteResponse, routes } from "../../contract/route.ts";
import type { ChangeIndex } from "./change-index.ts";
import type { IncidentIndex } from "./incident-index.ts";

/** What the API needs of the queue. */
export type DeadLetterQueue = Pick<Queue, "deadLetters" | "retryDeadLetter" | "dropDeadLetter">;

/** Everything that handlers share. */
export interface ApiContext {
  readonly clock: Clock;
  readonly queue: DeadLetterQueue;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly incidents: IncidentIndex;
  readonly changes: ChangeIndex;
  readonly overview: () => Promise<Overview>;
}

/** A request whose parts have passed the row's schemas. */
export interface ApiRequest<R extends RouteName> {
  readonly params: z.output<(typeof routes)[R]["params"]>;
  readonly query: z.output<(typeof routes)[R]["query"]>;
  readonly body: z.output<(typeof routes)[R]["body"]>;
  /** The header `If-Match` as it came, or null. */
  readonly ifMatch: string | null;
}

export interface ApiAnswer<R extends RouteName = RouteName> {
  readonly body: RouteResponse<R>;
  /** Version of the answer; sent as a strong ETag. */
  readonly version?: number;
}

export type Handler<R extends RouteName> = (request: ApiRequest<R>, context: ApiContext) => Promise<ApiAnswer<R>>;
