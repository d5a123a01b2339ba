/** The whole flow, top to bottom. Read this first: every stage with what it reads and writes. */
import type { Api } from "./api/api.ts";
import { createApi } from "./api/api.ts";
import type { AppOptions, Ports } from "./app.ts";
import { createDetection } from "./detection/detection.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { createIncident } from "./incident/incident.ts";
import { createIngest } from "./ingest/ingest.ts";
import { createRanking } from "./ranking/ranking.ts";
import type { Stage } from "./stage.ts";
import { createTopology } from "./topology/topology.ts";

export interface Pipeline {
  /** In the order in which they start: readers before writers. */
  readonly stages: readonly Stage[];
  readonly gateway: Gateway;
  readonly api: Api;
  /** Resolves when everything accepted so far is in the ordered logs. */
  flush(): Promise<void>;
  /** Resolves when everything accepted so far has left the last stage. */
  settle(): Promise<void>;
}

/** Every batch of telemetry is flushed to the window log within this time. */
const ingestFlushMs = 100;

export function buildPipeline(options: AppOptions & { ports: Ports }): Pipeline {
  const { config, platform, ports } = options;
  const { queue, log, graph, telemetry, events } = ports;
  const { window, objective, timeScale, tenant, tokens } = config;

  // OTLP, CloudEvents → [telemetry], [change]
  const gateway = createGateway({
    platform,
    queue,
    tenant,
    gatewayId: options.gatewayId,
    http: config.gateway,
    tokens,
    ...(options.onRecorded === undefined ? {} : { onRecorded: options.onRecorded }),
  });
  // [telemetry] → window log, dependency log
  const ingest = createIngest({ platform, queue, log, window, flushMs: ingestFlushMs });
  // window log → telemetry store, anomaly log
  const detection = createDetection({ platform, log, telemetry, window });
  // dependency log → graph store
  const topology = createTopology({ platform, log, graph, window });
  // anomaly log, [change], [verdict] → event store, [verdict-request]
  const incident = createIncident({ platform, queue, log, events, graph, window, objective, timeScale });
  // [verdict-request] → [verdict]
  const addresses = () => options.addresses ?? { otlpUrl: gateway.url(), apiUrl: api.url() };
  const ranking = createRanking({ platform, queue, events, graph, telemetry, window, addresses });
  // stores → people and programs
  const api = createApi({
    platform,
    events,
    graph,
    telemetry,
    http: config.api,
    tokens,
    windowMs: window.windowMs,
    otlpUrl: () => gateway.url(),
    webDirectory: options.webDirectory,
  });

  const flush = async (): Promise<void> => {
    await gateway.settle();
    await ingest.settle();
  };
  return {
    stages: [ranking, incident, topology, detection, ingest, gateway, api],
    gateway,
    api,
    flush,
    async settle() {
      await flush();
      await Promise.all([detection.settle(), topology.settle()]);
      // A verdict is asked for and answered through queues, so incident and ranking take turns until both are at rest.
      await incident.settle();
      await ranking.settle();
      await queue.drain();
      await incident.settle();
    },
  };
}
