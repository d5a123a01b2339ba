import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { expect, it } from "vitest";
import { mergeReductions } from "../../../native/merge-reductions.ts";
import { reduceBatch } from "../../../native/reducer.ts";
import { reduceDefaults } from "../../../native/reduction.ts";
import { gatewayWorld } from "./gateway-world.ts";

it("takes traces, metrics and logs from OpenTelemetry's own SDK and loses nothing of them", async () => {
  const world = await gatewayWorld();
  const url = (path: string) => `${world.gateway.url()}/v1/${path}`;
  const resource = resourceFromAttributes({ "service.name": "cart", "service.namespace": "shop", "service.instance.id": "cart-1" });
  const tracers = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: url("traces") }))],
  });
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: url("metrics") }),
    exportIntervalMillis: 60_000,
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  const loggers = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: url("logs") }) })],
  });
  try {
    const span = tracers.getTracer("test").startSpan("GET /cart");
    span.recordException(new TypeError("x is null"));
    span.setStatus({ code: 2 });
    span.end();
    const meter = meters.getMeter("test");
    meter.createCounter("orders").add(3, { "http.route": "/cart" });
    meter.createHistogram("work", { unit: "s" }).record(0.2);
    meter.createUpDownCounter("active").add(2);
    loggers.getLogger("test").emit({ severityNumber: SeverityNumber.ERROR, body: "order 17 failed" });
    await Promise.all([tracers.forceFlush(), meters.forceFlush(), loggers.forceFlush()]);
    await world.queue.drain();
    const options = { ...reduceDefaults, windowMs: 10_000 };
    const merged = mergeReductions(
      world.batches.map((batch) => reduceBatch(batch, options)),
      options,
    );
    expect(Object.fromEntries(merged.rejects)).toEqual({});
    const partials = merged.windows.flatMap((entry) => entry.partials);
    expect(partials.map((partial) => [partial.entity, partial.kind, partial.metric, partial.attributes])).toEqual([
      ["shop/cart", "count", "log.records", "severity=ERROR"],
      ["shop/cart", "cumulative", "orders", "http.route=/cart"],
      ["shop/cart", "duration", "span.internal.duration", "operation=GET /cart"],
      ["shop/cart", "gauge", "active", ""],
      ["shop/cart", "histogram", "work", ""],
    ]);
    expect(merged.windows.flatMap((entry) => entry.spans)).toMatchObject([{ exception: "TypeError: x is null", failed: true }]);
    expect(merged.windows.flatMap((entry) => entry.lines)).toMatchObject([{ body: "order 17 failed", severity: "ERROR" }]);
  } finally {
    await Promise.all([tracers.shutdown(), meters.shutdown(), loggers.shutdown()]);
    await world.close();
  }
});
