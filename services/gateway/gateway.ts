/** The door for telemetry and changes: checks size, token and shape, numbers what it takes, and forwards the bytes (design §5). */
import type { Change } from "../../contract/change.ts";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import { Outages } from "../../contract/outage.ts";
import type { Queue } from "../../contract/port.ts";
import type { Signal } from "../../contract/telemetry.ts";
import { queueTopics } from "../../contract/topic.ts";
import { walkOtlp } from "../../native/otlp-walk.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import { BodyReader, unzipBody } from "./body-reader.ts";
import { changesOf } from "./cloud-event.ts";
import {
  allowedMethod,
  answerForm,
  changeMode,
  checkDoor,
  contentEncoding,
  type GatewayRoute,
  type GatewayToken,
  mediaType,
  pathOf,
  telemetryEncoding,
} from "./door.ts";
import { errorResponse, exportResponse } from "./error-response.ts";
import {
  type GatewayHeaders,
  type GatewayRequest,
  type GatewayResponse,
  jsonResponse,
  type RecordedBody,
  textBytes,
} from "./gateway-message.ts";
import { HttpDoor } from "./http-door.ts";
import { InFlight } from "./in-flight.ts";
import { QueueWatch } from "./queue-watch.ts";
import { SourceNumbers } from "./source-numbers.ts";

/** Sources whose numbers are remembered. */
const sourcesMax = 10_000;
/** Bodies of the largest size that may be in memory at the same time. */
const bodiesInFlightMax = 8;

export interface GatewayOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly tenant: string;
  /** Begins the ids of all batches. No two starts of a gateway may share one, or new batches would pass for old ones; at most 64 characters. */
  readonly gatewayId: string;
  readonly http: { readonly host: string; readonly port: number; readonly bodyBytesMax: number; readonly bodyTimeoutMs: number };
  /** After this long without telemetry the flow is told so, once: what came last has to close its windows. */
  readonly idleMs: number;
  /** None = everybody may send. */
  readonly tokens: readonly GatewayToken[];
  /** Called for each body after it was published. */
  readonly onRecorded?: (body: RecordedBody) => void;
}

export interface Gateway extends Stage {
  /** Where it listens, without a path; before start with the configured port, of which 0 is any. */
  url(): string;
  /**
   * Everything behind the socket but the token: decompresses, checks, numbers, publishes. Used by the socket and by replays.
   * Never rejects for a bad request.
   */
  accept(request: GatewayRequest): Promise<GatewayResponse>;
}

/**
 * Counters: `headwater_gateway_requests_total{path,status}`, `headwater_gateway_bytes_total{path}`, `headwater_gateway_items_total{signal}`,
 * `headwater_gateway_sources_forgotten_total`. `start` throws PORT_IN_USE and CONFIG_INVALID.
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

class HttpGateway implements Gateway {
  readonly name = "gateway";
  #options: GatewayOptions;
  #queue: QueueWatch;
  #sources: SourceNumbers;
  #door: HttpDoor;
  #batches = 0;
  #inFlight = new InFlight();
  #stopping: Promise<void> | null = null;
  #cancelIdle: () => void = () => undefined;
  #counters;

  constructor(options: GatewayOptions) {
    const { platform, http, gatewayId } = options;
    invariant(gatewayId.length > 0 && gatewayId.length <= 64, `gatewayId has ${gatewayId.length} characters`);
    this.#options = options;
    const { metrics, clock, logger } = platform;
    this.#queue = new QueueWatch(options.queue, new Outages({ name: "gateway", clock, logger }));
    this.#counters = {
      requests: metrics.counter("headwater_gateway_requests_total", "Requests answered", ["path", "status"]),
      bytes: metrics.counter("headwater_gateway_bytes_total", "Decompressed bytes of accepted bodies", ["path"]),
      items: metrics.counter("headwater_gateway_items_total", "Spans, data points and log records accepted", ["signal"]),
      forgotten: metrics.counter("headwater_gateway_sources_forgotten_total", `Sources forgotten because more than ${sourcesMax} sent`),
    };
    this.#sources = new SourceNumbers({ gatewayId, sourcesMax, onForgotten: () => this.#counters.forgotten.inc() });
    const reader = new BodyReader({ ...http, clock: platform.clock, bytesInFlightMax: http.bodyBytesMax * bodiesInFlightMax });
    this.#door = new HttpDoor({
      ...http,
      platform,
      tokens: options.tokens,
      reader,
      checkRoom: (route) => this.#checkRoom(route),
      accept: (request) => this.accept(request),
      counted: (path, status) => this.#count(path, status),
    });
  }

  async start(): Promise<void> {
    await this.#door.open();
  }

  url(): string {
    return this.#door.url();
  }

  async settle(): Promise<void> {
    await this.#door.idle();
    await this.#inFlight.idle();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#cancelIdle();
    await this.#door.close();
    await this.settle();
  }

  reasons(): readonly string[] {
    return this.#queue.reasons();
  }

  partitions(): Readonly<Record<string, readonly number[]>> {
    return {};
  }

  accept(request: GatewayRequest): Promise<GatewayResponse> {
    return this.#inFlight.run(() => this.#accept(request));
  }

  async #accept(request: GatewayRequest): Promise<GatewayResponse> {
    const form = answerForm(request.path, request.headers);
    let response: GatewayResponse;
    try {
      response = await this.#handle(request);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const known = toHeadwaterError(error);
      if (known.code === "INTERNAL") this.#options.platform.logger.error({ error: known.message }, "a request could not be handled");
      const allow = known.code === "METHOD_NOT_ALLOWED" ? { allow: allowedMethod(request.path) } : {};
      response = errorResponse(known, form, allow);
    }
    this.#count(request.path, response.status);
    return response;
  }

  async #handle(request: GatewayRequest): Promise<GatewayResponse> {
    const route = checkDoor(request);
    if (route.kind === "livez") return jsonResponse(200, { status: "live" });
    if (this.#stopping !== null) throw new HeadwaterError("STOPPING", "the gateway is stopping", { retryAfterSeconds: 5 });
    const receivedAtMs = request.receivedAtMs ?? this.#options.platform.clock.nowMs();
    const body = await this.#plainBody(request);
    const response =
      route.kind === "telemetry"
        ? await this.#takeTelemetry(route.signal, request.headers, body, receivedAtMs)
        : await this.#takeChanges(request.headers, body, receivedAtMs);
    this.#counters.bytes.inc({ path: pathOf(request.path) }, body.length);
    return response;
  }

  async #plainBody(request: GatewayRequest): Promise<Uint8Array<ArrayBuffer>> {
    const { bodyBytesMax } = this.#options.http;
    if (contentEncoding(request.headers) === "gzip") return await unzipBody(request.body, bodyBytesMax);
    if (request.body.length > bodyBytesMax) throw new HeadwaterError("BODY_TOO_LARGE", `the body is larger than ${bodyBytesMax} bytes`);
    return request.body.buffer instanceof ArrayBuffer ? (request.body as Uint8Array<ArrayBuffer>) : Uint8Array.from(request.body);
  }

  async #takeTelemetry(
    signal: Signal,
    headers: GatewayHeaders,
    body: Uint8Array<ArrayBuffer>,
    receivedAtMs: number,
  ): Promise<GatewayResponse> {
    const { tenant, gatewayId: gateway, onRecorded } = this.#options;
    const encoding = telemetryEncoding(headers);
    const walked = walkOtlp(signal, encoding, body);
    if (!walked.ok) {
      // A wrong shape in JSON has its path in the message, and no byte.
      const place = encoding === "json" && walked.offset === 0 ? "" : ` at byte ${walked.offset}`;
      throw new HeadwaterError("BODY_MALFORMED", `the body is not valid OTLP ${signal}${place}: ${walked.message}`);
    }
    // Nothing to number and nothing to reduce.
    if (walked.itemCount === 0) return exportResponse(encoding);
    const { namespace, name, instance } = walked.resource;
    await this.#sources.inOrder([signal, namespace, name, instance], async (source, sequence) => {
      await this.#queue.publish("telemetry", {
        id: this.#nextId(),
        tenant,
        gateway,
        source,
        sequence,
        signal,
        encoding,
        receivedAtMs,
        body,
      });
      onRecorded?.({ receivedAtMs, path: `/v1/${signal}`, contentType: mediaType(headers), body });
    });
    this.#counters.items.inc({ signal }, walked.itemCount);
    this.#planIdle();
    return exportResponse(encoding);
  }

  /** Nothing more may come for a long time, and event time stands still without telemetry. */
  #planIdle(): void {
    const { clock } = this.#options.platform;
    this.#cancelIdle();
    if (this.#stopping === null)
      this.#cancelIdle = clock.schedule(this.#options.idleMs, () => void this.#inFlight.run(() => this.#tellIdle()));
  }

  async #tellIdle(): Promise<void> {
    const { platform, tenant, gatewayId: gateway } = this.#options;
    const receivedAtMs = platform.clock.nowMs();
    try {
      await this.#sources.inOrder(["idle"], async (source, sequence) => {
        const empty = { signal: "traces", encoding: "protobuf", body: new Uint8Array(0) } as const;
        await this.#queue.publish("telemetry", { id: this.#nextId(), tenant, gateway, source, sequence, receivedAtMs, ...empty });
      });
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#planIdle();
    }
  }

  #nextId(): string {
    this.#batches += 1;
    return `${this.#options.gatewayId}-${this.#batches - 1}`;
  }

  async #takeChanges(headers: GatewayHeaders, body: Uint8Array, receivedAtMs: number): Promise<GatewayResponse> {
    const { onRecorded } = this.#options;
    const mode = changeMode(headers);
    const { changes, structured } = changesOf(mode, headers, body, receivedAtMs);
    for (const change of changes) await this.#queue.publish("change", change satisfies Change);
    onRecorded?.({
      receivedAtMs,
      path: "/v1/changes",
      contentType: mode === "batch" ? "application/cloudevents-batch+json" : "application/cloudevents+json",
      body: textBytes(JSON.stringify(structured)),
    });
    return jsonResponse(202, { ids: changes.map((change) => change.id) });
  }

  /** Refuses before the body is received when the queue would refuse afterwards. */
  async #checkRoom(route: GatewayRoute): Promise<void> {
    if (this.#stopping !== null) throw new HeadwaterError("STOPPING", "the gateway is stopping", { retryAfterSeconds: 5 });
    if (route.kind === "livez") return;
    const topic = route.kind === "telemetry" ? "telemetry" : "change";
    const queue = this.#queue;
    const depth = topic === "telemetry" ? await queue.depth("telemetry", "ingest") : await queue.depth("change", "incident");
    const { depthMax } = queueTopics[topic];
    if (depth < depthMax) return;
    throw new HeadwaterError("QUEUE_FULL", `${depth} ${topic} messages are waiting (at most ${depthMax})`, { retryAfterSeconds: 1 });
  }

  #count(path: string, status: number): void {
    const known = ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1/changes", "/livez"].includes(pathOf(path));
    this.#counters.requests.inc({ path: known ? pathOf(path) : "other", status: String(status) });
  }
}
