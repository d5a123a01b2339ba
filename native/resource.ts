/** From resource attributes to the entity they speak of (design §3). */

import { compareCodeUnits } from "../contract/canonical.ts";
import { entityId, hostEntityId, idLengthMax } from "../contract/entity.ts";
import type { OtlpAttributes } from "./otlp-model.ts";
import { boundedText, singleLine } from "./text.ts";

/** Who sent a batch, as far as its resource says; at most 512 characters each. */
export interface ResourceIdentity {
  readonly namespace: string | null;
  readonly name: string | null;
  readonly instance: string | null;
}

/** An entity as a resource names it. */
export interface ResourceEntity {
  readonly entity: string;
  readonly namespace: string | null;
  readonly name: string;
  readonly instance: string | null;
  readonly version: string | null;
  readonly host: string | null;
  readonly zone: string | null;
  /** Set where the resource names a host and nothing that runs on it. */
  readonly type?: "host";
}

/** `service.name` with namespace and instance, else Prometheus' `job` and `instance`. */
export function resourceIdentity(attributes: OtlpAttributes): ResourceIdentity {
  return {
    namespace: firstOf(attributes, ["service.namespace"]),
    name: firstOf(attributes, ["service.name", "job"]),
    instance: firstOf(attributes, ["service.instance.id", "instance", "k8s.pod.uid", "k8s.pod.name", "container.id"]),
  };
}

/** Null when the resource names nothing that could be an entity. `unknown_service…` is a name like any other. */
export function resourceEntity(attributes: OtlpAttributes): ResourceEntity | null {
  const { namespace, name, instance } = resourceIdentity(attributes);
  const host = firstOf(attributes, ["host.name", "k8s.node.name", "host.id"]);
  const zone = firstOf(attributes, ["cloud.availability_zone", "topology.kubernetes.io/zone", "k8s.zone", "cloud.region"]);
  if (name === null) return hostEntity(attributes, { host, zone });
  return {
    entity: boundedText(entityId(namespace, name), idLengthMax),
    namespace,
    name,
    instance,
    version: firstOf(attributes, ["service.version", "k8s.deployment.revision", "container.image.tag"]),
    host,
    zone,
  };
}

/** A host that tells of itself is known by the name that those on it carry as theirs. */
function hostEntity(attributes: OtlpAttributes, { host, zone }: { host: string | null; zone: string | null }): ResourceEntity | null {
  if (host === null || firstOf(attributes, ["host.name"]) === null) return null;
  const entity = boundedText(hostEntityId(host), idLengthMax);
  return { entity, namespace: null, name: host, instance: null, version: null, host, zone, type: "host" };
}

/**
 * What tells one sender of a metric from another: its instance id, else everything its resource says.
 * Cumulative values of two senders must never be subtracted from each other.
 */
export function senderIdentity(attributes: OtlpAttributes): string {
  const { instance } = resourceIdentity(attributes);
  return instance ?? attributesText(attributes);
}

/** All attributes as one text, sorted by key; for hashing. */
export function attributesText(attributes: OtlpAttributes): string {
  if (attributes.size === 0) return "";
  return [...attributes]
    .sort(([left], [right]) => compareCodeUnits(left, right))
    .map(([key, value]) => `${key}\u0001${value}`)
    .join("\u0002");
}

function firstOf(attributes: OtlpAttributes, keys: readonly string[]): string | null {
  for (const key of keys) {
    const value = attributes.get(key);
    if (value !== undefined && value !== "") return boundedText(singleLine(value), idLengthMax);
  }
  return null;
}
