/** A running shop: its processes, the relay between them, its datastores; and what faults and deploys may do to it. */
import { request } from "node:http";
import { Child } from "./child.ts";
import { type Datastores, startDatastores } from "./datastores.ts";
import type { FaultControl, FaultName } from "./fault/fault.ts";
import { LabError } from "./lab-error.ts";
import type { FromRelay, FromService, ToRelay, ToService } from "./message.ts";
import { type EdgeSpec, edgeName, edgesOf, type ServiceSpec, type ShopSpec, serviceOf } from "./spec.ts";

const startWaitMs = 60_000;
const answerWaitMs = 15_000;

export interface ShopOptions {
  readonly spec: ShopSpec;
  readonly otlpUrl: string;
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
  /** Loopback port of each service. */
  readonly ports = new Map<string, number>();
  readonly #versions = new Map<string, string>();
  readonly #flags = new Map<string, "on" | "off">();
  /** Services that were ended on purpose. */
  readonly #down = new Set<string>();
  readonly #datastores: Promise<Datastores>;
  #relayPorts: Readonly<Record<string, number>> = {};
  #stopping: Promise<void> | null = null;

  /** Begins to start everything at once; `ready` says when it is done. */
  constructor(options: ShopOptions) {
    this.spec = options.spec;
    this.#options = options;
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
    await Promise.all(this.spec.services.map((service) => this.#configure(service, datastores)));
    return datastores.description;
  }

  #spawn(service: ServiceSpec): void {
    const child: ServiceChild = new Child("service", service.name);
    this.#services.set(service.name, child);
    this.#down.delete(service.name);
    this.#watch(service.name, child);
  }

  #watch(name: string, child: { ended: Promise<string> }): void {
    void child.ended.then((how) => {
      if (this.#stopping === null && !this.#down.has(name)) this.#options.onBroken(`${name} ended with ${how}`);
    });
  }

  async #configure(service: ServiceSpec, datastores: Datastores): Promise<void> {
    const { seed, namespace } = this.spec;
    const own = edgesOf(this.spec).filter((edge) => edge.caller === service.name);
    const peers = Object.fromEntries(own.map((edge) => [edge.callee, this.#relayPorts[edgeName(edge)] ?? 0]));
    const usesCache = service.operations.some((operation) => operation.cache !== "none");
    const settings = {
      seed,
      namespace,
      spec: { ...service, version: this.versionOf(service.name) },
      otlpUrl: this.#options.otlpUrl,
      postgresUrl: service.poolMax === null ? null : datastores.postgresUrl,
      schema: datastores.schema,
      redisUrl: usesCache ? datastores.redisUrl : null,
      keyPrefix: datastores.keyPrefix,
      peers,
    };
    const { port } = await this.#child(service.name).ask({ type: "configure", settings }, "ready", startWaitMs);
    this.ports.set(service.name, port);
    for (const edge of edgesOf(this.spec).filter((other) => other.callee === service.name)) {
      await this.#relay.ask({ type: "target", edge: edgeName(edge), port }, "done", answerWaitMs);
    }
    await waitForHealth(service.name, port);
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

  async delayEdge(edge: EdgeSpec, delayMs: number): Promise<void> {
    await this.#relay.ask({ type: "delay", edge: edgeName(edge), delayMs }, "done", answerWaitMs);
  }

  async crash(service: string): Promise<void> {
    const child = this.#child(service);
    this.#down.add(service);
    child.send({ type: "fault", fault: "crash", magnitude: 1, variant: "killed" });
    await child.ended;
  }

  async restart(service: string): Promise<void> {
    const spec = serviceOf(this.spec, service);
    this.#spawn(spec);
    await this.#configure(spec, await this.#datastores);
  }

  /** Ends every process, then the datastores. Never rejects; idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    await Promise.allSettled([...this.#services.values()].map((child) => child.end({ type: "stop" })));
    await Promise.allSettled([this.#relay.end(), this.#datastores.then((datastores) => datastores.stop())]);
  }
}

/** Waits until a service answers `/healthz`. */
async function waitForHealth(name: string, port: number): Promise<void> {
  const deadline = performance.now() + answerWaitMs;
  for (;;) {
    if (await isHealthy(port)) return;
    if (performance.now() > deadline) throw new LabError(`${name} does not answer on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request({ host: "127.0.0.1", port, path: "/healthz", agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve(false));
    sent.end();
  });
}
