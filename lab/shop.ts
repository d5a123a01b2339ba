/** A running shop: its processes, the relay between them, its datastores; and what faults and deploys may do to it. */
import { randomUUID } from "node:crypto";
import { request } from "node:http";
import { addressOf, type Place, placeText, standInOf } from "./address.ts";
import { Child } from "./child.ts";
import { type Datastores, startDatastores } from "./datastores.ts";
import { environmentOf } from "./environment.ts";
import type { FaultControl, FaultName, MachineControl } from "./fault/fault.ts";
import { Hardships } from "./hardship.ts";
import { LabError } from "./lab-error.ts";
import { type Machine, needsRoot, wholeMachine } from "./machine.ts";
import type { FromRelay, FromService, ToRelay, ToService } from "./message.ts";
import { type EdgeSpec, edgeName, edgesOf, type ServiceSpec, type ShopSpec, serviceOf } from "./spec.ts";

const startWaitMs = 60_000;
const answerWaitMs = 15_000;
const exhaustWaitMs = 15_000;

export interface ShopOptions {
  readonly spec: ShopSpec;
  /** Where the services report; null: they say nothing of themselves. */
  readonly otlpUrl: string | null;
  /** Closed by `stop`. */
  readonly machine: Machine;
  readonly postgresUrl: string | null;
  readonly redisUrl: string | null;
  readonly datastores: "auto" | "own";
  readonly progress: (text: string) => void;
  /** A process ended that nobody ended. */
  readonly onBroken: (text: string) => void;
}

type ServiceChild = Child<ToService, FromService>;

export class Shop implements FaultControl {
  readonly spec: ShopSpec;
  readonly #options: ShopOptions;
  readonly #relay: Child<ToRelay, FromRelay>;
  readonly #services = new Map<string, ServiceChild>();
  /** Port of each service, which keeps it when it is started again. */
  readonly #ports = new Map<string, number>();
  readonly #instances = new Map<string, string>();
  readonly #versions = new Map<string, string>();
  readonly #flags = new Map<string, "on" | "off">();
  /** Services that were ended on purpose. */
  readonly #down = new Set<string>();
  readonly #datastores: Promise<Datastores>;
  readonly #hardships: Hardships | null;
  #relayPorts: Readonly<Record<string, number>> = {};
  #stopping: Promise<void> | null = null;

  /** Begins to start everything at once; `ready` says when it is done. */
  constructor(options: ShopOptions) {
    this.spec = options.spec;
    this.#options = options;
    const { groups, firewall } = options.machine;
    this.#hardships =
      groups === null || firewall === null
        ? null
        : new Hardships({ spec: this.spec, groups, firewall, placeOf: (service) => this.placeOf(service) });
    options.progress(`starting ${options.spec.services.length} services`);
    this.#datastores = startDatastores(options);
    // Looked at in `ready`; a failure before that is not unhandled.
    this.#datastores.catch(() => {});
    this.#relay = new Child("relay", "relay");
    this.#watch("relay", this.#relay);
    for (const service of options.spec.services) this.#spawn(service);
  }

  /** Resolves when every service answers; the description of the datastores. Throws LAB_FAILED. */
  async ready(): Promise<string> {
    const edges = edgesOf(this.spec).map(edgeName);
    const [datastores, listening] = await Promise.all([
      this.#datastores,
      this.#relay.ask({ type: "edges", edges }, "listening", startWaitMs),
    ]);
    this.#relayPorts = listening.ports;
    for (const { name, pid } of datastores.servers) this.#options.machine.groups?.placeServer(name, pid);
    await Promise.all(this.spec.services.map((service) => this.#start(service, datastores)));
    await Promise.all(this.spec.services.map((service) => this.#connect(service)));
    return datastores.description;
  }

  #spawn(service: ServiceSpec): void {
    const instance = randomUUID();
    const version = this.versionOf(service.name);
    const child: ServiceChild = new Child("service", service.name, environmentOf(this.spec, { ...service, version, instance }));
    this.#services.set(service.name, child);
    this.#instances.set(service.name, instance);
    this.#down.delete(service.name);
    this.#watch(service.name, child);
    this.#options.machine.groups?.place(service.name, child.pid);
  }

  #watch(name: string, child: { ended: Promise<string> }): void {
    void child.ended.then((how) => {
      if (this.#stopping === null && !this.#down.has(name)) this.#options.onBroken(`${name} ended with ${how}`);
    });
  }

  /** Lets a service listen, without knowing anybody yet. */
  async #start(service: ServiceSpec, datastores: Datastores): Promise<void> {
    const { seed, namespace } = this.spec;
    const address = addressOf(this.spec, service.name);
    const usesCache = service.operations.some((operation) => operation.cache !== "none");
    const settings = {
      seed,
      namespace,
      spec: { ...service, version: this.versionOf(service.name) },
      address,
      port: this.#ports.get(service.name) ?? 0,
      instance: this.#instances.get(service.name) ?? "",
      otlpUrl: this.#options.otlpUrl,
      postgresUrl: service.poolMax === null ? null : datastores.postgresUrl,
      schema: datastores.schema,
      redisUrl: usesCache ? datastores.redisUrl : null,
      datastoreFrom: {
        postgres: this.#options.postgresUrl === null ? address : null,
        redis: this.#options.redisUrl === null ? address : null,
      },
      keyPrefix: datastores.keyPrefix,
    };
    const { port } = await this.#child(service.name).ask({ type: "configure", settings }, "ready", startWaitMs);
    this.#ports.set(service.name, port);
  }

  /** Tells a service where the others are, once all of them listen. */
  async #connect(service: ServiceSpec): Promise<void> {
    const own = edgesOf(this.spec).filter((edge) => edge.caller === service.name);
    const peers = Object.fromEntries(own.map((edge) => [edge.callee, this.#wayTo(edge)]));
    await this.#tell(service.name, { type: "peers", peers });
    for (const edge of own) {
      const standIn = this.#options.machine.firewall === null ? null : standInOf(this.spec, edge.caller);
      const target = { type: "target", edge: edgeName(edge), place: this.placeOf(edge.callee), standIn } as const;
      await this.#relay.ask(target, "done", answerWaitMs);
    }
    await waitForHealth(service.name, this.placeOf(service.name));
  }

  /** Directly where a firewall can lead around; else through the relay, always. */
  #wayTo(edge: EdgeSpec): Place {
    if (this.#options.machine.firewall !== null) return this.placeOf(edge.callee);
    return { host: "127.0.0.1", port: this.#relayPorts[edgeName(edge)] ?? 0 };
  }

  /** Where a service listens. */
  placeOf(service: string): Place {
    return { host: addressOf(this.spec, service), port: this.#ports.get(service) ?? 0 };
  }

  #child(service: string): ServiceChild {
    const child = this.#services.get(service);
    if (child === undefined) throw new RangeError(`the shop has no service ${service}`);
    return child;
  }

  versionOf(service: string): string {
    return this.#versions.get(service) ?? serviceOf(this.spec, service).version;
  }

  flagOf(service: string, flag: string): "on" | "off" {
    return this.#flags.get(`${service} ${flag}`) ?? "off";
  }

  /** A service that is down takes its version at the next start. */
  async setVersion(service: string, version: string): Promise<void> {
    this.#versions.set(service, version);
    await this.#tell(service, { type: "version", version });
  }

  async setFlag(service: string, flag: string, value: "on" | "off"): Promise<void> {
    this.#flags.set(`${service} ${flag}`, value);
    await this.#tell(service, { type: "flag", flag, value });
  }

  async #tell(service: string, message: ToService): Promise<void> {
    if (!this.#down.has(service)) await this.#child(service).ask(message, "done", answerWaitMs);
  }

  setFault(service: string, options: { fault: FaultName; magnitude: number; variant: string }): Promise<void> {
    return this.#tell(service, { type: "fault", ...options });
  }

  clearFault(service: string): Promise<void> {
    return this.#tell(service, { type: "healthy" });
  }

  /** Connections that are open are told to go, so that the next calls take the way that is right from now on. */
  async delayEdge(edge: EdgeSpec, delayMs: number): Promise<void> {
    await this.#relay.ask({ type: "delay", edge: edgeName(edge), delayMs }, "done", answerWaitMs);
    const { firewall } = this.#options.machine;
    if (firewall === null) return;
    const detour = {
      caller: addressOf(this.spec, edge.caller),
      callee: this.placeOf(edge.callee),
      relayPort: this.#relayPorts[edgeName(edge)] ?? 0,
      standIn: standInOf(this.spec, edge.caller),
    };
    const others = firewall.rules.detours.filter(({ relayPort }) => relayPort !== detour.relayPort);
    await firewall.set({ ...firewall.rules, detours: delayMs === 0 ? others : [...others, detour] });
    await this.#tell(edge.caller, { type: "reconnect", callee: edge.callee });
  }

  async delayService(service: string, delayMs: number): Promise<void> {
    for (const edge of edgesOf(this.spec).filter(({ callee }) => callee === service)) await this.delayEdge(edge, delayMs);
  }

  machine(): MachineControl {
    if (this.#hardships === null) throw needsRoot(this.#options.machine);
    return this.#hardships;
  }

  async crash(service: string): Promise<void> {
    const child = this.#child(service);
    this.#down.add(service);
    child.send({ type: "fault", fault: "crash", magnitude: 1, variant: "killed" });
    await child.ended;
  }

  async exhaustMemory(service: string, bytesLeft: number): Promise<void> {
    const { groups } = wholeMachine(this.#options.machine);
    const child = this.#child(service);
    this.#down.add(service);
    groups.limitMemory(service, groups.memoryBytes(service) + bytesLeft);
    child.send({ type: "fault", fault: "memory-limit", magnitude: bytesLeft, variant: "leak" });
    const late = new Promise<null>((resolve) => setTimeout(resolve, exhaustWaitMs, null).unref());
    if ((await Promise.race([child.ended, late])) === null) throw new LabError(`${service} still has memory after ${exhaustWaitMs} ms`);
  }

  async restart(service: string): Promise<void> {
    const spec = serviceOf(this.spec, service);
    if (this.#options.machine.groups?.missing("memory") === null) this.#options.machine.groups.limitMemory(service, null);
    this.#spawn(spec);
    await this.#start(spec, await this.#datastores);
    await this.#connect(spec);
  }

  /** Ends every process, then the datastores. Never rejects; idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    await Promise.allSettled([this.#hardships?.stop()]);
    await Promise.allSettled([...this.#services.values()].map((child) => child.end({ type: "stop" })));
    await Promise.allSettled([this.#relay.end(), this.#datastores.then((datastores) => datastores.stop())]);
    await this.#options.machine.close();
  }
}

/** Waits until a service answers `/healthz`. */
async function waitForHealth(name: string, place: Place): Promise<void> {
  const deadline = performance.now() + answerWaitMs;
  for (;;) {
    if (await isHealthy(place)) return;
    if (performance.now() > deadline) throw new LabError(`${name} does not answer at ${placeText(place)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isHealthy(place: Place): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request({ ...place, path: "/healthz", agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve(false));
    sent.end();
  });
}
