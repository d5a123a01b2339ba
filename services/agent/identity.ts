/** Who a process is: the name under which it is reported, or nobody (a process that serves nobody and was given no name). */
import { boundedText, singleLine } from "../../native/text.ts";
import { type CgroupOwner, cgroupOwner, isBelow } from "./cgroup-path.ts";
import { resourceAttributes, workloadOf } from "./environment.ts";
import type { EndAddress, ProcessEvent } from "./kernel-event.ts";
import type { Attributes } from "./otlp-item.ts";
import type { ProcessFacts, ProcessReader } from "./process-files.ts";
import { addressKey, isWildcard } from "./socket-address.ts";

export interface ServiceIdentity {
  /** Of entity and instance; two processes with one key are one service instance. */
  readonly key: string;
  readonly name: string;
  readonly namespace: string | null;
  readonly instance: string;
  readonly version: string | null;
  readonly host: string;
  readonly zone: string | null;
  readonly containerId: string | null;
  readonly podUid: string | null;
  readonly source: "environment" | "pod" | "container" | "unit" | "cgroup" | "command" | "datastore";
}

export interface IdentityOptions {
  readonly files: ProcessReader;
  readonly host: string;
  /** Only processes below these paths of the unified hierarchy are anybody; all are when there is none. */
  readonly cgroups: readonly string[];
  /** Nobody: the agent itself. */
  readonly selfTgid: number;
  /** Nobody either: the platform that started it. */
  readonly platformTgid?: number;
  /** Processes remembered at most. */
  readonly processesMax: number;
  /** Processes read from /proc in one second of event time, at most. */
  readonly readsPerSecondMax: number;
  readonly onCounted: (what: "processes-forgotten" | "reads-refused") => void;
}

interface ProcessRecord {
  readonly tgid: number;
  readonly facts: ProcessFacts;
  /** The topmost ancestor with the same command: workers are their master's. */
  readonly root: number;
  /** As the process's events name it; 0n while none has. */
  cgroup: bigint;
  readonly readAtNs: number;
  identity: ServiceIdentity | null;
  /** Generation of the root's knowledge that `identity` was made from. */
  generation: number;
}

/** What was learned of a process by its sockets. */
interface Sockets {
  /** Of the process, which may have no record of its own. */
  readonly startTicks: number | null;
  generation: number;
  listens: EndAddress | null;
  /** A datastore or broker by what it speaks; it may be reached by local sockets only. */
  system: string | null;
  /** Where it was reached first. */
  reached: EndAddress | null;
}

/** Servers that are known by their command before they have said anything. */
const systemCommands: Readonly<Record<string, string>> = {
  "redis-server": "redis",
  "valkey-server": "redis",
  postgres: "postgresql",
  postmaster: "postgresql",
  mysqld: "mysql",
  mariadbd: "mysql",
  mongod: "mongodb",
  memcached: "memcached",
};
const ancestorsMax = 8;
const readAgainNs = 1_000_000_000;
const rememberedGroupsMax = 4_096;
const nameLengthMax = 200;

export class IdentityBook {
  readonly #options: IdentityOptions;
  /** Least recently read first. */
  readonly #processes = new Map<number, ProcessRecord>();
  readonly #sockets = new Map<number, Sockets>();
  /** Who was in a group, for processes that are gone before they could be read. */
  readonly #groups = new Map<bigint, ServiceIdentity>();
  /** Processes that ended, and when. */
  readonly #exited = new Map<number, number>();
  #readSecond = 0;
  #reads = 0;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /** Who the process is, or null. `cgroup` is 0n where the event does not say; `atNs` is the event's time. */
  of(tgid: number, cgroup: bigint, atNs: number): ServiceIdentity | null {
    if (this.#isOurs(tgid)) return null;
    if (tgid === 0) return this.#groups.get(cgroup) ?? null;
    const record = this.#record(tgid, cgroup, atNs);
    if (record === null) return this.#groups.get(cgroup) ?? null;
    const sockets = this.#sockets.get(record.root);
    const generation = sockets?.generation ?? 0;
    if (record.generation !== generation) {
      record.identity = this.#identify(record, sockets ?? null);
      record.generation = generation;
      this.#rememberGroup(record);
    }
    return record.identity;
  }

  /** As `of`, for the server end of a connection: a datastore is the one at the address that was reached. */
  ofServer(tgid: number, cgroup: bigint, local: EndAddress, atNs: number): ServiceIdentity | null {
    const identity = this.of(tgid, cgroup, atNs);
    if (identity?.source !== "datastore" || local.ip === "") return identity;
    const system = identity.name.slice(0, identity.name.indexOf("@"));
    return this.#datastore(system, local);
  }

  /** The process listens, or has accepted a connection, at this address. */
  listens(tgid: number, local: EndAddress, atNs: number): void {
    if (tgid === 0 || this.#isOurs(tgid) || local.port === 0) return;
    const sockets = this.#socketsOf(tgid, atNs);
    if (sockets === null) return;
    // The first port stays, or a service would change its name when it opens another.
    if (sockets.listens === null || (isWildcard(sockets.listens.ip) && sockets.listens.port === local.port && !isWildcard(local.ip))) {
      sockets.listens = local;
      sockets.generation += 1;
    }
  }

  /** The process answered as a datastore or broker at this address. */
  speaks(tgid: number, system: string, local: EndAddress, atNs: number): void {
    const sockets = this.#socketsOf(tgid, atNs);
    if (sockets === null || sockets.system !== null) return;
    sockets.system = system;
    if (!isWildcard(local.ip)) sockets.reached = local;
    sockets.generation += 1;
  }

  observe(event: ProcessEvent): void {
    if (event.type === "fork") this.#forget(event.childTgid);
    else if (event.type === "exec") this.#forget(event.tgid);
    else if (event.type === "exit") this.#exited.set(event.tgid, event.atNs);
  }

  /** Forgets processes that ended before; what they did is told by another ring, a moment later. */
  expire(beforeNs: number): void {
    for (const [tgid, atNs] of this.#exited) {
      if (atNs >= beforeNs) continue;
      this.#exited.delete(tgid);
      this.#forget(tgid);
    }
  }

  /** Forgets processes that are gone, or are others under the same pid; for after process events were lost, and now and then. */
  verify(): void {
    for (const [tgid, { facts }] of this.#processes) {
      if (this.#options.files.startTicks(tgid) !== facts.startTicks) this.#forget(tgid);
    }
    for (const [tgid, { startTicks }] of this.#sockets) {
      if (this.#options.files.startTicks(tgid) !== startTicks) this.#sockets.delete(tgid);
    }
  }

  /** Processes that are somebody, with who they are. */
  *services(): Iterable<{ tgid: number; identity: ServiceIdentity; facts: ProcessFacts }> {
    for (const { tgid, identity, facts } of this.#processes.values()) if (identity !== null) yield { tgid, identity, facts };
  }

  #isOurs(tgid: number): boolean {
    return tgid === this.#options.selfTgid || tgid === this.#options.platformTgid;
  }

  #record(tgid: number, cgroup: bigint, atNs: number): ProcessRecord | null {
    const known = this.#processes.get(tgid);
    if (known !== undefined) {
      if (known.cgroup === 0n) known.cgroup = cgroup;
      // A process is often moved into its group right after its start.
      if (cgroup === 0n || known.cgroup === cgroup || atNs - known.readAtNs < readAgainNs) return known;
    }
    if (!this.#mayRead(atNs)) return known ?? null;
    const facts = this.#options.files.facts(tgid);
    if (facts === null) return known ?? null;
    this.#processes.delete(tgid);
    this.#makeRoom();
    const record: ProcessRecord = { tgid, facts, root: this.#rootOf(tgid, facts), cgroup, readAtNs: atNs, identity: null, generation: -1 };
    this.#processes.set(tgid, record);
    return record;
  }

  #mayRead(atNs: number): boolean {
    const second = Math.floor(atNs / 1e9);
    if (second !== this.#readSecond) {
      this.#readSecond = second;
      this.#reads = 0;
    }
    this.#reads += 1;
    if (this.#reads <= this.#options.readsPerSecondMax) return true;
    this.#options.onCounted("reads-refused");
    return false;
  }

  #makeRoom(): void {
    if (this.#processes.size < this.#options.processesMax) return;
    for (const tgid of this.#processes.keys()) {
      this.#forget(tgid);
      this.#options.onCounted("processes-forgotten");
      return;
    }
  }

  #forget(tgid: number): void {
    this.#exited.delete(tgid);
    this.#processes.delete(tgid);
    this.#sockets.delete(tgid);
  }

  #rootOf(tgid: number, facts: ProcessFacts): number {
    let root = tgid;
    let { parent } = facts;
    for (let steps = 0; steps < ancestorsMax && parent > 1; steps += 1) {
      const above: ProcessFacts | null = this.#processes.get(parent)?.facts ?? this.#options.files.facts(parent);
      if (above === null || above.command !== facts.command || above.cgroups.unified !== facts.cgroups.unified) break;
      root = parent;
      parent = above.parent;
    }
    return root;
  }

  #socketsOf(tgid: number, atNs: number): Sockets | null {
    const record = this.#record(tgid, 0n, atNs);
    if (record === null) return null;
    let sockets = this.#sockets.get(record.root);
    if (sockets === undefined) {
      if (this.#sockets.size >= this.#options.processesMax) return null;
      sockets = { startTicks: this.#options.files.startTicks(record.root), generation: 0, listens: null, system: null, reached: null };
      this.#sockets.set(record.root, sockets);
    }
    return sockets;
  }

  #identify({ facts, root }: ProcessRecord, sockets: Sockets | null): ServiceIdentity | null {
    const { cgroups, host } = this.#options;
    const { environment, command } = facts;
    const owner = cgroupOwner(facts.cgroups, cgroups);
    if (!isBelow(facts.cgroups.unified, cgroups)) return null;
    const system = sockets?.system ?? systemCommands[command] ?? null;
    if (system !== null) {
      const place = placeOf(sockets, host);
      return place === null ? null : this.#datastore(system, place);
    }
    const given = resourceAttributes(environment.get("OTEL_RESOURCE_ATTRIBUTES") ?? "");
    const named = environment.get("OTEL_SERVICE_NAME") || given.get("service.name");
    const podUid = owner?.kind === "pod" ? owner.podUid : (given.get("k8s.pod.uid") ?? null);
    const containerId = owner?.kind === "pod" || owner?.kind === "container" ? owner.containerId : null;
    const instance = given.get("service.instance.id") ?? podUid ?? containerId ?? null;
    const port = sockets?.listens?.port ?? null;
    const name = nameOf({ named: named ?? null, owner, environment, command, port });
    if (name === null) return null;
    return identity({
      name: name.name,
      namespace: given.get("service.namespace") ?? name.namespace,
      instance: instance ?? (name.source === "cgroup" || name.source === "unit" ? host : `${host}:${root}`),
      version: given.get("service.version") ?? null,
      host: environment.get("K8S_NODE_NAME") || environment.get("NODE_NAME") || host,
      zone: given.get("cloud.availability_zone") ?? null,
      containerId,
      podUid,
      source: name.source,
    });
  }

  #datastore(system: string, at: EndAddress): ServiceIdentity {
    const { host } = this.#options;
    const none = { namespace: null, version: null, zone: null, containerId: null, podUid: null };
    return identity({ name: `${system}@${at.port === 0 ? at.ip : addressKey(at)}`, instance: host, host, source: "datastore", ...none });
  }

  #rememberGroup({ cgroup, identity: who }: ProcessRecord): void {
    if (cgroup === 0n || who === null || !["pod", "container", "cgroup", "unit"].includes(who.source)) return;
    if (this.#groups.size < rememberedGroupsMax) this.#groups.set(cgroup, who);
  }
}

/** Where a datastore is, to whom it has answered; null before that is known. One that only local sockets reach is the host's. */
function placeOf(sockets: Sockets | null, host: string): EndAddress | null {
  if (sockets === null) return null;
  const { reached, listens, system } = sockets;
  if (reached !== null) return reached;
  if (listens !== null && !isWildcard(listens.ip)) return listens;
  if (system === null) return null;
  return listens === null ? { ip: host, port: 0, peerTgid: 0 } : { ...listens, ip: "127.0.0.1" };
}

interface NameFrom {
  readonly named: string | null;
  readonly owner: CgroupOwner | null;
  readonly environment: ReadonlyMap<string, string>;
  readonly command: string;
  readonly port: number | null;
}

function nameOf(from: NameFrom): { name: string; namespace: string | null; source: ServiceIdentity["source"] } | null {
  const { named, owner, environment, command, port } = from;
  const podNamespace =
    environment.get("POD_NAMESPACE") || environment.get("K8S_NAMESPACE_NAME") || environment.get("K8S_NAMESPACE") || null;
  if (named !== null && named !== "") return { name: named, namespace: null, source: "environment" };
  if (owner?.kind === "pod") {
    const pod = environment.get("K8S_POD_NAME") || environment.get("POD_NAME") || environment.get("HOSTNAME");
    return { name: pod === undefined || pod === "" ? command : workloadOf(pod), namespace: podNamespace, source: "pod" };
  }
  if (owner?.kind === "cgroup") return { name: owner.name, namespace: null, source: "cgroup" };
  // Neither Docker nor containerd tells a container its own name.
  if (owner?.kind === "container" && port === null) {
    return { name: `${command}-${owner.containerId.slice(0, 12)}`, namespace: null, source: "container" };
  }
  if (owner?.kind === "unit") return { name: owner.name, namespace: null, source: "unit" };
  return port === null ? null : { name: `${command}:${port}`, namespace: null, source: "command" };
}

function identity(from: Omit<ServiceIdentity, "key">): ServiceIdentity {
  const clean = (text: string) => boundedText(singleLine(text), nameLengthMax);
  const name = clean(from.name);
  const namespace = from.namespace === null || from.namespace === "" ? null : clean(from.namespace);
  const instance = clean(from.instance);
  return { ...from, name, namespace, instance, key: `${namespace ?? ""}\n${name}\n${instance}` };
}

/** As a resource says it. */
export function resourceOf(who: ServiceIdentity): Attributes {
  return {
    "service.name": who.name,
    ...(who.namespace === null ? {} : { "service.namespace": who.namespace }),
    "service.instance.id": who.instance,
    ...(who.version === null ? {} : { "service.version": who.version }),
    "host.name": who.host,
    ...(who.zone === null ? {} : { "cloud.availability_zone": who.zone }),
    ...(who.containerId === null ? {} : { "container.id": who.containerId }),
    ...(who.podUid === null ? {} : { "k8s.pod.uid": who.podUid }),
  };
}
