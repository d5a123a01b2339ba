/** The few variables of a process's environment that say who it is. Nothing else of it is kept. */
import type { Buffer } from "node:buffer";

const wanted: ReadonlySet<string> = new Set([
  ...["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"],
  ...["POD_NAME", "K8S_POD_NAME", "POD_NAMESPACE", "K8S_NAMESPACE_NAME", "K8S_NAMESPACE", "NODE_NAME", "K8S_NODE_NAME"],
  ...["HOSTNAME", "KUBERNETES_SERVICE_HOST"],
]);
const valueLengthMax = 4_096;
const pairsMax = 64;

/** Reads the bytes of `/proc/PID/environ`. */
export function parseEnvironment(bytes: Buffer): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let at = 0;
  while (at < bytes.length) {
    const zero = bytes.indexOf(0, at);
    const end = zero === -1 ? bytes.length : zero;
    const equals = bytes.indexOf(0x3d, at);
    if (equals > at && equals < end && equals - at <= 32) {
      const name = bytes.toString("latin1", at, equals);
      if (wanted.has(name)) found.set(name, bytes.toString("utf8", equals + 1, Math.min(end, equals + 1 + valueLengthMax)));
    }
    at = end + 1;
  }
  return found;
}

/** `key=value,key=value` with values percent-encoded, as OpenTelemetry's SDKs read it; pairs of another shape are passed over. */
export function resourceAttributes(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of text.split(",", pairsMax)) {
    const equals = pair.indexOf("=");
    if (equals <= 0) continue;
    found.set(pair.slice(0, equals).trim(), decoded(pair.slice(equals + 1).trim()));
  }
  return found;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Letters that Kubernetes draws its suffixes from. */
const drawn = "[bcdfghjklmnpqrstvwxz2456789]";
const suffixes = [new RegExp(`-${drawn}{8,10}-${drawn}{5}$`), new RegExp(`-${drawn}{5}$`), /-\d{1,4}$/];

/** The workload that a pod belongs to, by the pod's name: deployment, daemon set or job, stateful set. */
export function workloadOf(podName: string): string {
  for (const suffix of suffixes) {
    const name = podName.replace(suffix, "");
    if (name !== podName && name !== "") return name;
  }
  return podName;
}
