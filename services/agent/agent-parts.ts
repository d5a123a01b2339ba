/** The tables of an agent, put together. */
import { createHash } from "node:crypto";
import type { AgentMetrics } from "./agent-metrics.ts";
import type { CgroupFiles } from "./cgroup-files.ts";
import { ConnectionTable } from "./connection-table.ts";
import { CounterIntake } from "./counter-intake.ts";
import { EventIntake } from "./event-intake.ts";
import { FlowTable } from "./flow-table.ts";
import { HostSignals, type InterfaceNames } from "./host-signals.ts";
import { IdentityBook } from "./identity.ts";
import type { EndAddress } from "./kernel-event.ts";
import { KernelEvents } from "./kernel-events.ts";
import type { MetricOwner } from "./metric-sums.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { ProcessReader } from "./process-files.ts";
import { ProcessSignals } from "./process-signals.ts";
import { StreamTable } from "./stream-table.ts";
import { noTelemetryPlaces, type TelemetryPlaces } from "./telemetry-places.ts";

/** Where the machine tells about itself. */
export interface AgentPlaces {
  readonly processes: ProcessReader;
  readonly cgroups: CgroupFiles;
  readonly interfaceNames: () => InterfaceNames;
  readonly dropReasons: ReadonlyMap<number, string>;
}

export interface AgentPartsOptions {
  readonly places: AgentPlaces;
  readonly host: string;
  readonly cgroups: readonly string[];
  readonly metrics: AgentMetrics;
  readonly hostOwner: MetricOwner;
  readonly lingerNs: number;
  readonly syscallScale: number;
  readonly telemetry?: TelemetryPlaces;
  readonly platformTgid?: number;
  readonly onOpaque: (cookie: bigint) => void;
  readonly onExchange: (observed: ObservedExchange) => void;
  readonly onLifecycleLoss: () => void;
}

const endsMax = 32_768;
const listenersMax = 8_192;
const processesMax = 8_192;
const readsPerSecondMax = 200;
const streamsMax = 10_000;
const ownersMax = 1_000;
const waitingMax = 20_000;
const waitNs = 500_000_000;
const processesReadMax = 500;
const syscallsPerServiceMax = 30;
const recordsPerServiceMax = 20;
const recordsMax = 1_000;
const learnNs = 120_000_000_000;

export class AgentParts {
  readonly identities: IdentityBook;
  readonly connections: ConnectionTable;
  readonly events: KernelEvents;
  readonly processes: ProcessSignals;
  readonly intake: EventIntake;
  readonly counters: CounterIntake;
  readonly #streams: StreamTable;
  readonly #host: string;
  readonly #lingerNs: number;

  constructor(options: AgentPartsOptions) {
    const { places, host, cgroups, metrics, hostOwner, lingerNs, telemetry = noTelemetryPlaces } = options;
    const onCounted = (what: string, amount = 1) => metrics.dropped(what, amount);
    this.#host = host;
    this.#lingerNs = lingerNs;
    const identityBounds = { processesMax, readsPerSecondMax };
    const self = { selfTgid: process.pid, platformTgid: options.platformTgid ?? process.pid };
    this.identities = new IdentityBook({ files: places.processes, host, cgroups, ...self, ...identityBounds, onCounted });
    this.connections = new ConnectionTable({ endsMax, listenersMax, lingerNs, onCounted });
    const { identities, connections } = this;
    this.#streams = new StreamTable({ identities, streamsMax, ownersMax, onOpaque: options.onOpaque, onCounted });
    this.events = new KernelEvents({ identities, host, recordsPerServiceMax, recordsMax, learnNs, onCounted });
    this.processes = new ProcessSignals({
      identities,
      processes: places.processes,
      cgroups: places.cgroups,
      hostOwner,
      processesReadMax,
      syscallsPerServiceMax,
      syscallScale: options.syscallScale,
      onCounted,
    });
    const flows = new FlowTable(identities, telemetry);
    const onSystem = (server: EndAddress, system: string) => flows.learnSystem(server, system);
    const intake = { connections, identities, streams: this.#streams, events: this.events, telemetry };
    const { onExchange, onOpaque } = options;
    this.intake = new EventIntake({ ...intake, waitingMax, waitNs, onExchange, onSystem, onTelemetry: onOpaque, onCounted });
    this.counters = new CounterIntake({
      flows,
      processes: this.processes,
      host: new HostSignals({ owner: hostOwner, dropReasons: places.dropReasons, interfaceNames: places.interfaceNames }),
      metrics,
      onLifecycleLoss: options.onLifecycleLoss,
    });
  }

  /** Forgets what ended long enough ago. */
  expire(nowNs: number): void {
    this.connections.expire(nowNs, (cookie) => this.#streams.close(cookie));
    this.identities.expire(nowNs - this.#lingerNs);
  }

  /** Ids of the span that says that an interval is over. */
  aliveIds(startMs: number): { traceId: string; spanId: string } {
    const hash = createHash("sha256").update(`interval ${this.#host} ${startMs}`).digest("hex");
    return { traceId: hash.slice(0, 32), spanId: hash.slice(32, 48) };
  }
}
