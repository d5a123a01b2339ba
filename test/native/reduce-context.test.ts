import { describe, expect, it } from "vitest";
import { partitionOf } from "../../contract/canonical.ts";
import { batchOf, receivedAtMs, spanOf, stringAttributes, traceRequest } from "./otlp-bodies.ts";
import { merged } from "./reduced.ts";

describe("observing entities", () => {
  it("says what the resource says, at the newest event time", () => {
    const resource = {
      "service.instance.id": "cart-1",
      "service.version": "1.2",
      "host.name": "node-7",
      "cloud.availability_zone": "eu-1a",
    };
    const result = merged([batchOf("traces", traceRequest("cart", [spanOf()], resource)), batchOf("traces", traceRequest("idle", []))]);
    expect(result.dependencies.flatMap((entry) => entry.observations)).toEqual([
      {
        entity: "cart",
        namespace: null,
        name: "cart",
        instance: "cart-1",
        version: "1.2",
        host: "node-7",
        zone: "eu-1a",
        atMs: receivedAtMs - 1_000,
      },
    ]);
    expect(result.dependencies[partitionOf("cart")]?.observations).toHaveLength(1);
  });

  it("falls back to Prometheus' job and instance", () => {
    const attributes = stringAttributes({ job: "node", instance: "10.0.0.1:9100" });
    const result = merged([batchOf("traces", { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: [spanOf()] }] }] })]);
    expect(result.dependencies.flatMap((entry) => entry.observations)).toMatchObject([{ entity: "node", instance: "10.0.0.1:9100" }]);
  });
});
