/** `/livez`, `/readyz` and `/metrics`. */
import type { Express } from "express";
import { HeadwaterError } from "../../contract/error.ts";
import { changeStream } from "../../contract/event-stream.ts";
import type { Clock, EventStore, GraphStore, TelemetryStore } from "../../contract/port.ts";
import type { Metrics } from "../platform.ts";
import type { Access } from "./access.ts";
import { onlyMethods } from "./mount.ts";

/** How long a store may take to answer before it counts as away. */
const answerWithinMs = 2_000;

export interface HealthOptions {
  readonly access: Access;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  /** `ready`, or why the API itself is not. */
  readonly state: () => "ready" | "starting" | "stopping";
}

/** Alive: the process answers. Ready: the stores do too; else 503 with a reason for each that does not. */
export function mountHealth(app: Express, options: HealthOptions): void {
  app.get("/livez", (_request, response) => {
    response.setHeader("Cache-Control", "no-store");
    response.json({ status: "alive" });
  });
  app.get("/readyz", async (_request, response) => {
    response.setHeader("Cache-Control", "no-store");
    const reasons = await reasonsNotReady(options);
    response.status(reasons.length === 0 ? 200 : 503).json({ status: reasons.length === 0 ? "ready" : "not ready", reasons });
  });
  app.get("/metrics", async (request, response) => {
    options.access.require(options.access.callerOf(request.headers.authorization), "viewer");
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Content-Type", options.metrics.registry.contentType);
    response.end(await options.metrics.registry.metrics());
  });
  for (const path of ["/livez", "/readyz", "/metrics"]) app.all(path, onlyMethods(["GET"]));
}

async function reasonsNotReady(options: HealthOptions): Promise<string[]> {
  const state = options.state();
  const stores: [string, () => Promise<unknown>][] = [
    ["event store", () => options.events.read(changeStream, { eventsMax: 1 })],
    ["graph", () => options.graph.asOf(options.clock.nowMs())],
    ["telemetry store", () => options.telemetry.summaries({ entities: [], seriesMax: 1 })],
  ];
  const answers = await Promise.all(stores.map(([name, ask]) => reasonOf(name, ask, options.clock)));
  return [...(state === "ready" ? [] : [`the API is ${state}`]), ...answers.filter((reason) => reason !== null)];
}

/** Null when the store answers in time. */
async function reasonOf(name: string, ask: () => Promise<unknown>, clock: Clock): Promise<string | null> {
  return new Promise((resolve) => {
    const cancel = clock.schedule(answerWithinMs, () => resolve(`the ${name} did not answer within ${answerWithinMs} ms`));
    ask()
      .then(
        () => resolve(null),
        (error: unknown) => resolve(`the ${name} cannot be reached: ${error instanceof HeadwaterError ? error.code : "INTERNAL"}`),
      )
      .finally(cancel);
  });
}
