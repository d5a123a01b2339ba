/** What can be at fault, and how it is named (design §3, §14). */
import { z } from "zod";

export const idLengthMax = 512;

export const EntityType = z.enum(["service", "instance", "host", "datastore", "broker", "external"]);
export type EntityType = z.infer<typeof EntityType>;

/** `service.name` or `namespace/service.name`; datastores and external peers carry what was seen, e.g. `postgresql@10.0.0.5:5432`. */
export const EntityId = z.string().min(1).max(idLengthMax);

export const Entity = z.object({
  id: EntityId,
  type: EntityType,
  namespace: z.string().max(idLengthMax).nullable(),
  name: z.string().min(1).max(idLengthMax),
  version: z.string().max(idLengthMax).nullable(),
  /** `host.name` of the newest instance, when known. */
  host: z.string().max(idLengthMax).nullable(),
  zone: z.string().max(idLengthMax).nullable(),
  /** The entity for which this one only stands in (proxy, load balancer, remote pseudo-node), or null. */
  alias: EntityId.nullable(),
  /** Receives requests whose caller is none of ours. */
  entry: z.boolean(),
  firstSeenMs: z.number().int(),
  lastSeenMs: z.number().int(),
});
export type Entity = z.infer<typeof Entity>;

/** Caller → callee. Valid-from and valid-to are event time; `validToMs` null = still in use as of the newest look. */
export const Dependency = z.object({
  id: z
    .string()
    .min(3)
    .max(idLengthMax * 2 + 1),
  source: EntityId,
  target: EntityId,
  protocol: z.string().max(64),
  validFromMs: z.number().int(),
  validToMs: z.number().int().nullable(),
  lastSeenMs: z.number().int(),
  /** Where it was learned: `spans`, `kernel`, `declared`. */
  learnedFrom: z.enum(["spans", "kernel", "declared"]),
  confidence: z.number().min(0).max(1),
  /** Addresses (`host:port` or `system@host:port`) under which the caller reached the callee; at most 16, sorted. */
  addresses: z.array(z.string().max(idLengthMax)).max(16),
});
export type Dependency = z.infer<typeof Dependency>;

/** Id of a host that tells of itself: no service is called so, unless its namespace is `host`. */
export function hostEntityId(host: string): string {
  return `host/${host}`.slice(0, idLengthMax);
}

/** `caller>callee`, the id of a dependency. */
export function dependencyId(source: string, target: string): string {
  return `${source}>${target}`;
}

/** `namespace/name`, or `name` alone without a namespace. */
export function entityId(namespace: string | null, name: string): string {
  return namespace === null || namespace === "" ? name : `${namespace}/${name}`;
}
