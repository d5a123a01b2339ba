/** The whole flow, top to bottom. Read this first: every stage with what it reads and writes. A process may run some of it only. */
import { type Api, createApi } from "./api/api.ts";
import type { AppOptions } from "./app.ts";
import { createDetection } from "./detection/detection.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { createIncident } from "./incident/incident.ts";
import { createIngest } from "./ingest/ingest.ts";
import type { Ports } from "./ports.ts";
import { createRanking } from "./ranking/ranking.ts";
import type { Role } from "./role.ts";
import type { Stage } from "./stage.ts";
import { createTopology } from "./topology/topology.ts";

export interface Pipeline {
  /** In the order in which they start: readers before writers. */
  readonly stages: readonly Stage[];
  /** Null where this process has not the role. */
  readonly gateway: Gateway | null;
  readonly api: Api | null;
  /** Resolves when everything accepted so far is in the ordered logs. */
  flush(): Promise<void>;
  /** Resolves when everything accepted so far has left the last stage. */
  settle(): Promise<void>;
}

/** Every batch of telemetry is flushed to the window log within this time. */
const ingestFlushMs = 100;

export function buildPipeline(options: AppOptions & { ports: Ports; roles: readonly Role[] }): Pipeline {
  const { config, platform, ports, roles } = options;
  const { window, objective, timeScale, tenant, tokens } = config;
  const when = <S>(role: Role, create: () => S): S | null => (roles.includes(role) ? create() : null);

  // OTLP, CloudEvents → [telemetry], [change]
  const gateway = when("gateway", () => {
    const { gatewayId, onRecorded } = options;
    const recorded = onRecorded === undefined ? {} : { onRecorded };
    // By then the sources that fell silent hold no window open any more.
    const idleMs = window.sourceSilentMs + window.windowMs + window.settleMs;
    return createGateway({ platform, queue: ports.queue, tenant, gatewayId, http: config.gateway, tokens, idleMs, ...recorded });
  });
  const otlpUrl = (): string => gateway?.url() ?? addressOf(config.gateway);
  // [telemetry] → window log, dependency log
  const ingest = when("ingest", () => createIngest({ platform, queue: ports.queue, log: ports.log, window, flushMs: ingestFlushMs }));
  // window log → telemetry store, anomaly log
  const detection = when("detection", () => createDetection({ platform, log: ports.log, telemetry: ports.telemetry, window }));
  // dependency log → graph store
  const topology = when("topology", () => createTopology({ platform, log: ports.log, graph: ports.graph, window }));
  // anomaly log, [change], [verdict] → event store, [verdict-request]
  const incident = when("incident", () => {
    const { queue, log, events, graph } = ports;
    return createIncident({ platform, queue, log, events, graph, window, objective, timeScale });
  });
  // [verdict-request] → [verdict]
  const ranking = when("ranking", () => {
    const { queue, events, graph, telemetry, engines } = ports;
    return createRanking({ platform, queue, events, graph, telemetry, window, engines });
  });
  // stores → people and programs
  const api = when("api", () => {
    const { queue, events, graph, telemetry, presence, logIfOpen } = ports;
    const stores = { queue, events, graph, telemetry, presence, log: logIfOpen };
    const http = { http: config.api, tokens, webDirectory: options.webDirectory };
    return createApi({ platform, ...stores, ...http, windowMs: window.windowMs, sourceSilentMs: window.sourceSilentMs, otlpUrl });
  });
  const flush = async (): Promise<void> => {
    await gateway?.settle();
    await ingest?.settle();
  };
  const settle = async (): Promise<void> => {
    await flush();
    await Promise.all([detection?.settle(), topology?.settle()]);
    // A verdict is asked for and answered through queues, so incident and ranking take turns until both are at rest.
    await incident?.settle();
    await ranking?.settle();
    if (incident !== null || ranking !== null) await ports.queue.drain();
    await incident?.settle();
  };
  const stages = [ranking, incident, topology, detection, ingest, gateway, api].filter((stage) => stage !== null);
  return { stages, gateway, api, flush, settle };
}

/** Where another process of this configuration is reached. */
function addressOf({ host, port }: { host: string; port: number }): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
