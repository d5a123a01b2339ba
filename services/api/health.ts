/** `/livez`, `/readyz` and `/metrics`. */
import type { Express } from "express";
import type { Metrics } from "../platform.ts";
import type { Access } from "./access.ts";
import { onlyMethods } from "./mount.ts";
import type { StoreHealth } from "./store-health.ts";

export interface HealthOptions {
  readonly access: Access;
  readonly metrics: Metrics;
  readonly stores: StoreHealth;
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
    const state = options.state();
    const reasons = [...(state === "ready" ? [] : [`the API is ${state}`]), ...(await options.stores.check())];
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
