/** A service that reports nothing of itself: no SDK is loaded, spans are those of the API without one, and no context is passed on. */
import { createNoopMeter, ProxyTracerProvider } from "@opentelemetry/api";
import type { Telemetry } from "./telemetry.ts";

export function noTelemetry(): Telemetry {
  return {
    tracer: new ProxyTracerProvider().getTracer("lab-service"),
    requestDuration: createNoopMeter().createHistogram("http.server.request.duration"),
    countCache: () => {},
    log: () => {},
    shutdown: async () => {},
  };
}
