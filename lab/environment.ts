/** Who a process is, in its environment: how OpenTelemetry names services that report, and the kernel's watcher those that do not. */
import type { ShopSpec } from "./spec.ts";

/** As OpenTelemetry reads it from the environment. */
function resourceText(attributes: Readonly<Record<string, string | null>>): string {
  return Object.entries(attributes)
    .flatMap(([name, value]) => (value === null ? [] : [`${name}=${encodeURIComponent(value)}`]))
    .join(",");
}

/** Who a service is, for whoever looks at its process from outside. */
export function environmentOf(
  spec: Pick<ShopSpec, "namespace">,
  service: { readonly name: string; readonly version: string | null; readonly instance: string; readonly host: string },
): Record<string, string> {
  const attributes = { "service.namespace": spec.namespace, "service.version": service.version, "service.instance.id": service.instance };
  return { OTEL_SERVICE_NAME: service.name, OTEL_RESOURCE_ATTRIBUTES: resourceText(attributes), NODE_NAME: service.host };
}
