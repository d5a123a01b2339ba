/** `headwater requests`: requests as they are answered, or how often each caller asks each callee. */
import { hostname } from "node:os";
import { eventLayout } from "../agent/event-layout.generated.ts";
import { type LiveProbe, type OpenedLiveProbe, openLiveProbe } from "../agent/live-probe.ts";
import { DependencyRates, LiveRequests, type RequestLine } from "../agent/live-requests.ts";
import { countText, durationText, printable } from "../agent/live-text.ts";
import { quietSettings } from "../agent/probe-settings.ts";
import { ProcessFiles } from "../agent/process-files.ts";
import { type LiveSurroundings, processSurroundings, sayEnd, untilOver, withProbe, writeTable } from "./live-output.ts";
import type { OutputFormat } from "./output.ts";
import { table } from "./table.ts";

export interface RequestsOptions {
  readonly view: "lines" | "top";
  readonly seconds: number | null;
  readonly format: OutputFormat;
}

/** As `level` of the settings counts: requests and streams. */
const streamsLevel = 3;
const showEveryMs = 100;
const tableEveryMs = 1_000;
const tableWindowMs = 5_000;
const rowsMax = 40;
const ringBytes = { data_ring: 16_777_216, lifecycle_ring: 4_194_304 } as const;
/** Connections that nothing comes of and that the kernel is told to pass over, in one showing. */
const ignoredMax = 100;

/** Answers the exit code. */
export async function runRequests(options: RequestsOptions, surroundings: LiveSurroundings = processSurroundings()): Promise<number> {
  return await withProbe(await openRequests(surroundings), surroundings, (probe) => show(probe, options, surroundings));
}

/** By the tracepoints of sockets, or where the kernel has not those, by the fallback. */
async function openRequests({ places }: LiveSurroundings): Promise<OpenedLiveProbe> {
  const open = (request: string): Promise<OpenedLiveProbe> =>
    openLiveProbe(
      {
        needed: ["connection", request],
        further: ["process", "socket-iterator"],
        programs: null,
        settings: { ...quietSettings, selfTgid: process.pid, level: streamsLevel },
        ringBytes,
        mapEntriesMax: {},
        rings: ["lifecycle_ring", "data_ring"],
        maps: [],
        iterators: ["hw_list_listeners", "hw_list_connections"].map((program) => ({
          program,
          recordBytes: eventLayout.connection.structBytes,
        })),
      },
      places,
    );
  const opened = await open("request");
  if (opened.ok) return opened;
  const fallback = await open("request-fallback");
  if (!fallback.ok) return opened;
  fallback.probe.lacks ??= `requests are read by the fallback, because ${opened.reason}`;
  return fallback;
}

async function show(probe: LiveProbe, options: RequestsOptions, surroundings: LiveSurroundings): Promise<void> {
  const view = new RequestsView(probe, options, surroundings);
  const { over, cancel } = untilOver(surroundings, options.seconds);
  surroundings.tell("observing requests; Ctrl-C ends it");
  await view.begin();
  const timer = setInterval(() => void probe.source.readNow().catch(() => undefined), showEveryMs);
  try {
    await probe.read(over, async (batch) => await view.take(batch));
  } finally {
    clearInterval(timer);
    cancel();
  }
  await view.end();
}

class RequestsView {
  readonly #probe: LiveProbe;
  readonly #options: RequestsOptions;
  readonly #surroundings: LiveSurroundings;
  readonly #requests: LiveRequests;
  readonly #rates = new DependencyRates(tableWindowMs);
  #shown = 0;
  #shownAtMs = 0;
  #tableAtMs: number | null = null;
  #ignored = 0;

  constructor(probe: LiveProbe, options: RequestsOptions, surroundings: LiveSurroundings) {
    this.#probe = probe;
    this.#options = options;
    this.#surroundings = surroundings;
    this.#requests = new LiveRequests({
      processes: new ProcessFiles(),
      host: hostname(),
      selfTgid: process.pid,
      onOpaque: (cookie) => this.#ignore(cookie),
    });
  }

  async begin(): Promise<void> {
    if (this.#options.view === "lines" && this.#options.format === "text") await this.#surroundings.write(`${titles}\n`);
  }

  async take(batch: Parameters<LiveRequests["take"]>[0]): Promise<void> {
    this.#requests.take(batch);
    if (batch.atMs - this.#shownAtMs < showEveryMs) return;
    this.#shownAtMs = batch.atMs;
    this.#ignored = 0;
    await this.#show(this.#requests.ready(batch.atMs * 1e6 - batch.clockOffsetNs), batch.atMs);
  }

  async end(): Promise<void> {
    await this.#show(this.#requests.ready(Number.POSITIVE_INFINITY), this.#shownAtMs);
    const own = this.#rates.left === 0 ? this.#requests.lost : { ...this.#requests.lost, "requests-not-in-table": this.#rates.left };
    const lost = { ...this.#probe.losses, ...own };
    await sayEnd(this.#surroundings, { format: this.#options.format, shown: this.#shown, what: "requests", lost });
  }

  async #show(lines: readonly RequestLine[], atMs: number): Promise<void> {
    this.#shown += lines.length;
    if (this.#options.view === "top") await this.#showTable(lines, atMs);
    else if (lines.length > 0) {
      const text = lines.map((line) => (this.#options.format === "json" ? JSON.stringify(line) : textOf(line)));
      await this.#surroundings.write(`${text.join("\n")}\n`);
    }
  }

  async #showTable(lines: readonly RequestLine[], atMs: number): Promise<void> {
    this.#rates.add(lines, atMs);
    this.#tableAtMs ??= atMs;
    if (atMs - this.#tableAtMs < tableEveryMs) return;
    this.#tableAtMs = atMs;
    const rows = this.#rates.rows(atMs);
    if (this.#options.format === "json") {
      await this.#surroundings.write(`${JSON.stringify({ at: new Date(atMs).toISOString(), seconds: tableWindowMs / 1e3, rows })}\n`);
      return;
    }
    const head = ["CALLER", "CALLEE", "PROTOCOL", "REQUESTS/S", "FAILED/S", "P50", "P95", "SLOWEST"];
    const cells = rows
      .slice(0, rowsMax)
      .map((row) => [
        ...[nameOf(row.caller), nameOf(row.callee), row.protocol, countText(row.requestsPerSecond), countText(row.failuresPerSecond)],
        ...[durationText(row.p50Ns), durationText(row.p95Ns), printable(row.slowestOperation)],
      ]);
    const more = rows.length > rowsMax ? [`and ${rows.length - rowsMax} more`] : [];
    await writeTable(this.#surroundings, [`the last ${tableWindowMs / 1e3} seconds`, ...table([head, ...cells]), ...more]);
  }

  #ignore(cookie: bigint): void {
    if (this.#ignored >= ignoredMax) return;
    this.#ignored += 1;
    const key = new Uint8Array(8);
    new DataView(key.buffer).setBigUint64(0, cookie, true);
    void this.#probe.source.updateMap("ignored_connections", key, new Uint8Array([1, 0, 0, 0])).catch(() => undefined);
  }
}

const titles = columns(["TIMESTAMP", "CALLER", "CALLEE", "PROTOCOL", "STATUS", "LATENCY", "OPERATION"]);

function textOf({ at, caller, callee, protocol, status, failed, latencyNs, operation }: RequestLine): string {
  const result = `${printable(status)}${failed === "yes" ? " !" : ""}`;
  return columns([at.slice(11, -1), nameOf(caller), nameOf(callee), protocol, result, durationText(latencyNs), printable(operation)]);
}

function nameOf(name: string | null): string {
  return name === null ? "?" : printable(name);
}

function columns([at = "", caller = "", callee = "", protocol = "", status = "", latency = "", operation = ""]: readonly string[]): string {
  const cells = [at.padEnd(15), caller.padEnd(22), callee.padEnd(26), protocol.padEnd(10), status.padEnd(10), latency.padStart(8)];
  return [...cells, operation].join(" ").trimEnd();
}
