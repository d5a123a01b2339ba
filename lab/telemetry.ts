/** OpenTelemetry for one version of one service, set up by hand: traces, metrics and logs to one OTLP/HTTP receiver. */
import { type Context, type Histogram, type Meter, ROOT_CONTEXT, type Tracer } from "@opentelemetry/api";
import { type Logger, SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { type PoolCounts, ProcessGauges } from "./process-gauges.ts";

const scope = "lab-service";
const exportEveryMs = 250;
const metricsEveryMs = 1_000;
/** What waits for the receiver at most; the SDK drops what comes on top. */
const queueMax = 4_096;

/** Who reports. */
export interface Identity {
  readonly name: string;
  readonly namespace: string | null;
  readonly version: string;
  readonly instance: string;
  readonly host: string;
}

export type Severity = "INFO" | "WARN" | "ERROR";

export interface Telemetry {
  readonly tracer: Tracer;
  /** `http.server.request.duration`, seconds. */
  readonly requestDuration: Histogram;
  countCache(result: "hit" | "miss"): void;
  log(severity: Severity, body: string, options?: { context?: Context; error?: unknown }): void;
  /** Sends what waits, then stops. Never rejects. */
  shutdown(): Promise<void>;
}

const severityNumber = { INFO: SeverityNumber.INFO, WARN: SeverityNumber.WARN, ERROR: SeverityNumber.ERROR } as const;

/** Starts to report as this version of the service; `pool` answers null where there is no database. */
export function createTelemetry(options: { identity: Identity; otlpUrl: string; pool: () => PoolCounts | null }): Telemetry {
  const { identity } = options;
  const base = options.otlpUrl.replace(/\/+$/, "");
  const resource = resourceFromAttributes({
    "service.name": identity.name,
    ...(identity.namespace === null ? {} : { "service.namespace": identity.namespace }),
    "service.version": identity.version,
    "service.instance.id": identity.instance,
    "host.name": identity.host,
    "process.pid": process.pid,
    "telemetry.sdk.language": "nodejs",
    "telemetry.sdk.name": "opentelemetry",
  });
  const batch = { scheduledDelayMillis: exportEveryMs, maxQueueSize: queueMax, maxExportBatchSize: 512 };
  const traces = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `${base}/v1/traces` }), batch)],
  });
  // For the W3C propagator; contexts are passed by hand, which needs no manager.
  traces.register({ contextManager: null });
  const logs = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${base}/v1/logs` }), ...batch })],
  });
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics` }),
    exportIntervalMillis: metricsEveryMs,
    exportTimeoutMillis: metricsEveryMs,
  });
  const metrics = new MeterProvider({ resource, readers: [reader] });
  const meter = metrics.getMeter(scope);
  const gauges = new ProcessGauges(meter, options.pool);
  return {
    tracer: traces.getTracer(scope),
    requestDuration: requestDurationOf(meter),
    countCache: cacheCounterOf(meter),
    log: loggerOf(logs.getLogger(scope)),
    shutdown: async () => {
      gauges.stop();
      await Promise.allSettled([traces.shutdown(), logs.shutdown(), metrics.shutdown()]);
    },
  };
}

function requestDurationOf(meter: Meter): Histogram {
  return meter.createHistogram("http.server.request.duration", {
    unit: "s",
    description: "Duration of HTTP server requests",
    advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] },
  });
}

function cacheCounterOf(meter: Meter): Telemetry["countCache"] {
  const hits = meter.createCounter("cache.hits", { unit: "{lookup}", description: "Lookups that the cache answered" });
  const misses = meter.createCounter("cache.misses", { unit: "{lookup}", description: "Lookups that the cache could not answer" });
  return (result) => (result === "hit" ? hits : misses).add(1);
}

function loggerOf(logger: Logger): Telemetry["log"] {
  return (severity, body, options = {}) => {
    const { error } = options;
    logger.emit({
      severityNumber: severityNumber[severity],
      severityText: severity,
      body,
      context: options.context ?? ROOT_CONTEXT,
      ...(error instanceof Error
        ? { attributes: { "exception.type": error.name, "exception.message": error.message, "exception.stacktrace": error.stack ?? "" } }
        : {}),
    });
  };
}
