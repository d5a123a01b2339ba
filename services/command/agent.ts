/** `headwater agent`: what the kernel of this host tells, to a gateway or a queue, until a signal. */
import { hostname, release } from "node:os";
import { setFlagsFromString } from "node:v8";
import { type Config, loadConfig, parseConfig } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { ProbeSource } from "../../contract/port.ts";
import { Agent, type AgentOptions } from "../agent/agent.ts";
import { CgroupFiles } from "../agent/cgroup-files.ts";
import { eventNumbers } from "../agent/event-layout.generated.ts";
import { readHostFacts } from "../agent/host-facts.ts";
import { readInterfaceNames } from "../agent/host-signals.ts";
import { httpPost } from "../agent/http-post.ts";
import { dropReasons } from "../agent/kernel-enum.ts";
import { kernelUnavailable, type StartWorker } from "../agent/kernel-source.ts";
import { type LiveKernel, openLiveKernel, syscallScaleOf } from "../agent/live-kernel.ts";
import { OtlpSender, type Post } from "../agent/otlp-sender.ts";
import { PacedSource } from "../agent/paced-source.ts";
import { giveUpRights, unseenWithout } from "../agent/privilege.ts";
import { ProcessFiles, type ProcessReader } from "../agent/process-files.ts";
import { ProbeRecordWriter, recordedWhileRead } from "../agent/record-writer.ts";
import { RecordedProcesses, RecordingProcesses, withoutProcesses } from "../agent/recorded-processes.ts";
import { RecordedSource } from "../agent/recorded-source.ts";
import { GatewayPlaces } from "../agent/telemetry-places.ts";
import { createPlatform, type Platform } from "../platform.ts";
import { productVersion } from "../version.ts";
import { type OutputFormat, print } from "./output.ts";
import { newGatewayId, untilSignal } from "./process-life.ts";

export interface AgentCommandOptions {
  readonly config?: string;
  /** Instead of the configuration's. */
  readonly gateway?: string;
  /** What the kernel says is written there as well. */
  readonly record?: string;
  /** Instead of the kernel: a recording, at its own pace. */
  readonly replay?: string;
  /** Ends with the standard input: how whoever started it takes it along when killed. */
  readonly withParent: "yes" | "no";
  readonly format: OutputFormat;
  /** Another way to start the thread that reads the kernel, for whoever runs from TypeScript. */
  readonly startWorker?: StartWorker;
}

const bufferBytesMax = 33_554_432;
const gzipBytesMin = 1_400;
const answerWithinMs = 10_000;
const farewellMs = 3_000;
const groupsMax = 4_000;
/** What the gateway's name stands for is asked so often. */
const resolveEveryMs = 60_000;

type Cleanups = (() => Promise<void> | void)[];

/** Throws `KERNEL_UNAVAILABLE` where this kernel, or this process, cannot: exit code 3. */
export async function runAgent(options: AgentCommandOptions): Promise<void> {
  // Whoever starts it without Node's option (`agentNodeOptions`) pays for the same memory with a fifth more processor time.
  if (!process.execArgv.some((option) => option.startsWith("--max-semi-space-size"))) setFlagsFromString("--optimize-for-size");
  const config = options.config === undefined ? parseConfig({}) : loadConfig(options.config);
  const platform = createPlatform({ level: config.logLevel });
  const cleanups: Cleanups = [];
  const until = options.withParent === "yes" ? Promise.race([untilSignal(), untilInputEnds()]) : untilSignal();
  try {
    const opened = await openSource({ options, config, platform }, cleanups);
    if (!opened.ok) throw kernelUnavailable(opened.reason);
    const outlet = await openOutlet({ options, config, platform }, cleanups);
    const agent = new Agent({
      ...agentOptions(config, platform),
      ...opened.parts,
      ...platformOf(options),
      telemetry: await telemetryPlaces({ options, config, platform }, cleanups),
      send: (signal, body) => outlet.sender.send(signal, body),
    });
    for (const reason of opened.missing) platform.logger.warn({ reason }, "the agent observes less than it could");
    tell(options.format, { target: outlet.target, missing: opened.missing });
    const work = agent.run();
    await opened.parts.begin();
    await Promise.race([work, until]);
    await agent.stop();
    await outlet.sender.close(farewellMs);
    if (options.format === "json") print(JSON.stringify({ ended: true, ...agent.total }));
    await work;
  } finally {
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
    // What waits for the end of the input would keep the process of an agent that has none of its own work left.
    if (options.withParent === "yes") process.stdin.destroy();
  }
}

interface Opening {
  readonly options: AgentCommandOptions;
  readonly config: Config;
  readonly platform: Platform;
}

type Opened =
  | { readonly ok: false; readonly reason: string }
  | {
      readonly ok: true;
      readonly missing: readonly string[];
      readonly parts: Pick<AgentOptions, "source" | "control" | "places" | "programsMissing"> & { begin(): Promise<void> };
    };

async function openSource(opening: Opening, cleanups: Cleanups): Promise<Opened> {
  return opening.options.replay === undefined ? await openKernel(opening, cleanups) : await openReplay(opening, opening.options.replay);
}

async function openKernel({ options, config, platform }: Opening, cleanups: Cleanups): Promise<Opened> {
  const { level, syscalls, cgroups: paths } = config.agent;
  const cgroups = new CgroupFiles();
  const watchedGroups = paths.length === 0 ? null : () => cgroups.idsBelow(paths, groupsMax);
  const { startWorker } = options;
  const started = startWorker === undefined ? {} : { startWorker };
  const intervalMs = intervalOf(config);
  const opened = await openLiveKernel({ platform, level, syscalls, intervalMs, watchedGroups, ...platformOf(options), ...started });
  if (!opened.ok) return opened;
  const kernel: LiveKernel = opened.kernel;
  cleanups.push(() => kernel.close());
  let source: ProbeSource = kernel.source;
  let processes: ProcessReader = new ProcessFiles("/proc", (groups) => cgroups.resolve(groups));
  if (options.record !== undefined) {
    const header = { eventVersion: eventNumbers.HW_EVENT_VERSION, startedAtMs: platform.clock.nowMs(), kernel: release() };
    const writer = new ProbeRecordWriter(options.record, header);
    cleanups.push(() => writer.close());
    source = recordedWhileRead(source, writer);
    processes = new RecordingProcesses(processes, { write: (batch) => writer.add(batch), nowMs: () => platform.clock.nowMs() });
  }
  const places = { processes, cgroups, interfaceNames: () => readInterfaceNames(), dropReasons: dropReasons() };
  const programsMissing = await kernel.missingNames();
  const parts = { source, control: kernel, places, programsMissing, begin: () => kernel.start() };
  const unseen = unseenWithout(readHostFacts(release()).capabilities);
  const { failed, unreached } = await giveUpRights(kernel.source);
  if (failed !== 0) platform.logger.warn({ errno: failed, threads: unreached }, "rights that are needed no more could not be given up");
  return { ok: true, missing: [...(await kernel.missing()), ...unseen], parts };
}

/** Whoever takes the agent along is the platform, or a lab's command: not one of the services. */
function platformOf({ withParent }: AgentCommandOptions): { readonly platformTgid?: number } {
  return withParent === "yes" ? { platformTgid: process.ppid } : {};
}

async function telemetryPlaces({ options, config, platform }: Opening, cleanups: Cleanups): Promise<GatewayPlaces> {
  const places = new GatewayPlaces({ url: gatewayOf(options, config), netns: readInterfaceNames().netns });
  await places.refresh();
  let cancel: (() => void) | null = () => undefined;
  const again = (): void => {
    // What is asked while the agent ends must not keep its process.
    if (cancel !== null) cancel = platform.clock.schedule(resolveEveryMs, () => void places.refresh().then(again));
  };
  again();
  cleanups.push(() => {
    cancel?.();
    cancel = null;
  });
  return places;
}

/** Twice through the file: who the processes were, then what they did. */
async function openReplay({ platform }: Opening, file: string): Promise<Opened> {
  const processes = await RecordedProcesses.read(new RecordedSource(file));
  const source = new PacedSource(withoutProcesses(new RecordedSource(file)), platform.clock);
  const interfaceNames = () => ({ netns: 0, names: new Map<number, string>() });
  const places = { processes, cgroups: new CgroupFiles(`${file}.no-cgroups`), interfaceNames, dropReasons: dropReasons() };
  return { ok: true, missing: [], parts: { source, control: null, places, begin: () => Promise.resolve() } };
}

/** A window without a point of its own would look like silence. */
function intervalOf({ agent, window }: Config): number {
  return Math.min(agent.intervalMs, window.windowMs);
}

function agentOptions(config: Config, platform: Platform): Omit<AgentOptions, "source" | "control" | "places" | "send"> {
  const { cgroups, level, cpuBudget, memoryMaxMb, syscalls } = config.agent;
  return {
    platform,
    host: hostname(),
    version: productVersion,
    intervalMs: intervalOf(config),
    syscallScale: syscallScaleOf(syscalls),
    cgroups,
    level,
    cpuBudget,
    memoryMaxBytes: memoryMaxMb * 1_048_576,
    usage: () => {
      const { user, system } = process.cpuUsage();
      return { cpuUs: user + system, memoryBytes: process.memoryUsage.rss() };
    },
  };
}

async function openOutlet({ options, config, platform }: Opening, cleanups: Cleanups): Promise<{ sender: OtlpSender; target: string }> {
  const { url } = config.agent.queue;
  const { post, target } = url === null ? toGateway(options, config, cleanups) : await toQueue({ config, platform, url }, cleanups);
  const count = platform.metrics.counter("headwater_agent_bodies_total", "What became of bodies", ["signal", "what"]);
  const sender = new OtlpSender({
    ...{ platform, post, target, bufferBytesMax },
    gzipBytesMin: url === null ? gzipBytesMin : null,
    onCounted: (what, signal) => count.inc({ signal, what }),
  });
  return { sender, target };
}

function toGateway(options: AgentCommandOptions, config: Config, cleanups: Cleanups): { post: Post; target: string } {
  const url = gatewayOf(options, config);
  const { post, close } = httpPost({ url, token: config.agent.token, timeoutMs: answerWithinMs });
  cleanups.push(close);
  return { post, target: url };
}

/** A gateway without its socket: it checks, numbers and publishes as every other one. */
async function toQueue(
  { config, platform, url }: { config: Config; platform: Platform; url: string },
  cleanups: Cleanups,
): Promise<{ post: Post; target: string }> {
  // An agent that sends to a gateway, as most do, carries neither BullMQ nor the gateway's code.
  const [{ createGateway }, { openBullmqQueue }] = await Promise.all([import("../gateway/gateway.ts"), import("../queue/bullmq-queue.ts")]);
  const bounds = platform.metrics.counter("headwater_bound_events_total", "What happened at a bound or to damaged data, by name", [
    "port",
    "name",
  ]);
  const onCounted = (name: string, amount: number) => bounds.inc({ port: "queue", name }, amount);
  const queue = await openBullmqQueue({ url, prefix: config.redis.prefix, clock: platform.clock, onCounted });
  cleanups.push(() => queue.close());
  const { window, tenant } = config;
  const idleMs = window.sourceSilentMs + window.windowMs + window.settleMs;
  const gateway = createGateway({ platform, queue, tenant, gatewayId: newGatewayId(), http: config.gateway, tokens: [], idleMs });
  cleanups.push(() => gateway.stop());
  const post: Post = async ({ path, headers, body }) => {
    const answer = await gateway.accept({ method: "POST", path, headers, body });
    const seconds = Number(answer.headers["retry-after"]);
    const text =
      answer.status < 300
        ? ""
        : Buffer.from(answer.body)
            .toString("latin1")
            .replace(/[^\x20-\x7e]+/g, " ")
            .trim();
    return { status: answer.status, retryAfterSeconds: seconds > 0 ? seconds : null, text };
  };
  return { post, target: `the queue at ${new URL(url).host}` };
}

/** Where services of this host send to as well, also when the agent itself goes straight to the queue. */
function gatewayOf(options: AgentCommandOptions, config: Config): string {
  const url = options.gateway ?? config.agent.gateway ?? gatewayUrl(config.gateway);
  if (URL.canParse(url) && ["http:", "https:"].includes(new URL(url).protocol)) return url;
  throw new HeadwaterError("REQUEST_INVALID", `--gateway ${url}: a URL that begins with http:// or https:// is needed`);
}

function gatewayUrl({ host, port }: Config["gateway"]): string {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
}

function tell(format: OutputFormat, about: { target: string; missing: readonly string[] }): void {
  if (format === "json") {
    print(JSON.stringify({ ready: true, ...about }));
    return;
  }
  print(`sends to      ${about.target}`);
  for (const reason of about.missing) print(`missing       ${reason}`);
  print("ready");
}

/** Resolves when whoever holds the other end of the standard input lets go of it, by ending or by being killed. */
function untilInputEnds(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on("end", resolve);
    process.stdin.on("close", resolve);
    process.stdin.on("error", resolve);
    process.stdin.resume();
  });
}
