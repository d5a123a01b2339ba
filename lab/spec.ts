/** What a shop consists of: plain data, drawn from a seed and handed to the processes that play it. */

/** One outgoing call of an operation. */
export interface CallSpec {
  readonly callee: string;
  /** Name of the callee's operation. */
  readonly operation: string;
  /** How often the operation makes this call, 0..1. */
  readonly probability: number;
  /** `optional`: the caller goes on without it when it fails. */
  readonly need: "required" | "optional";
  readonly timeoutMs: number;
  /** Further attempts after a broken connection. */
  readonly retriesMax: number;
}

/** One route of a service. */
export interface OperationSpec {
  readonly name: string;
  readonly method: "GET" | "POST";
  /** With one parameter, e.g. `/orders/{id}`; the first segment is unique within the service. */
  readonly route: string;
  /** Share of an entry service's requests, relative to its other operations. */
  readonly weight: number;
  /** Own work: time that passes, and processor time within it. */
  readonly workMs: number;
  readonly cpuMs: number;
  readonly cache: "read" | "none";
  readonly database: "read" | "write" | "none";
  readonly calls: readonly CallSpec[];
  readonly order: "sequential" | "parallel";
}

export interface ServiceSpec {
  readonly name: string;
  readonly version: string;
  /** `host.name` it reports. */
  readonly host: string;
  /** 0 = only the load calls it. */
  readonly layer: number;
  readonly operations: readonly OperationSpec[];
  /** Connections of its own pool; null = it has no database. */
  readonly poolMax: number | null;
  /** `kept`: every request is written to a file, and synced to the disk, before it is answered. */
  readonly journal: "kept" | "none";
  /** Names of its feature flags. */
  readonly flags: readonly string[];
}

export interface EntrySpec {
  readonly service: string;
  readonly requestsPerSecond: number;
}

export interface ShopSpec {
  readonly seed: number;
  readonly namespace: string | null;
  readonly hosts: readonly string[];
  readonly services: readonly ServiceSpec[];
  readonly entries: readonly EntrySpec[];
}

/** A caller and its callee: one port of the relay. */
export interface EdgeSpec {
  readonly caller: string;
  readonly callee: string;
}

/** The id under which Headwater knows a service of the shop. */
export function entityIdOf(shop: Pick<ShopSpec, "namespace">, service: string): string {
  return shop.namespace === null ? service : `${shop.namespace}/${service}`;
}

/** Every pair of caller and callee once, in the order of the services. */
export function edgesOf(shop: Pick<ShopSpec, "services">): EdgeSpec[] {
  return shop.services.flatMap((service) => {
    const callees = new Set(service.operations.flatMap((operation) => operation.calls.map((call) => call.callee)));
    return [...callees].map((callee) => ({ caller: service.name, callee }));
  });
}

/** `caller>callee`: the name of an edge towards the relay. */
export function edgeName(edge: EdgeSpec): string {
  return `${edge.caller}>${edge.callee}`;
}

export function serviceOf(shop: Pick<ShopSpec, "services">, name: string): ServiceSpec {
  const found = shop.services.find((service) => service.name === name);
  if (found === undefined) throw new RangeError(`the shop has no service ${name}`);
  return found;
}

/** The name of who shares a host with its services, when somebody does. */
export function neighbourOf(host: string): string {
  return `export-${host.replace(/^node-/, "")}`;
}
