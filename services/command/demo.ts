/** `headwater demo`: platform, lab and one fault; says what happens, names the cause, writes the reports, leaves nothing behind. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseConfig } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { Incident } from "../../contract/incident.ts";
import { reportFormats } from "../../contract/route.ts";
import type { RankedCandidate, Verdict } from "../../contract/verdict.ts";
import { highestZ } from "../../graph/peer/highest-z.ts";
import { latestChange } from "../../graph/peer/latest-change.ts";
import { App } from "../app.ts";
import { createPlatform } from "../platform.ts";
import { apiClient } from "./api-client.ts";
import { DistributedPlatform } from "./distributed-platform.ts";
import { startLabAgent } from "./lab-agent.ts";
import { labSpec } from "./lab-config.ts";
import { LabProcess } from "./lab-process.ts";
import type { TelemetryKind } from "./lab-words.ts";
import { type OutputFormat, Progress, print } from "./output.ts";
import { newGatewayId, untilSignal } from "./process-life.ts";
import { builtPage } from "./start.ts";
import { chooseTelemetry } from "./telemetry-choice.ts";
import { readTruth, type Truth } from "./truth.ts";

export interface DemoOptions {
  readonly seed: number;
  readonly fault: string;
  readonly until: "verdict" | "signal";
  /** One process, or real servers and a process for each role. */
  readonly form: "embedded" | "distributed";
  /** Null: the most that this machine can do. */
  readonly telemetry: TelemetryKind | null;
  readonly format: OutputFormat;
  /** Where report.html, report.md and report.json are written. */
  readonly reportDirectory: string;
}

/** Long enough for every baseline of the lab to be tracked and for a p95 to be learned. */
const learnSeconds = 30;
const faultTimeoutMs = 60_000;
const verdictTimeoutMs = 60_000;
const pollMs = 100;

interface Outcome {
  readonly incident: Incident;
  readonly verdict: Verdict;
}

/** Runs the demo; resolves to whether the injected fault was ranked first. Throws DEMO_FAILED or LAB_FAILED. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const progress = new Progress();
  const telemetry = chooseTelemetry(options.telemetry);
  progress.say(`observe  ${telemetry.words}`);
  const directory = mkdtempSync(join(tmpdir(), "headwater-demo-"));
  const cleanups: (() => Promise<void>)[] = [async () => rmSync(directory, { recursive: true, force: true })];
  const interrupted = untilSignal();
  try {
    const platform = await startPlatform(options, { directory, progress });
    cleanups.push(() => platform.stop());
    progress.say(`page     ${platform.apiUrl}`);
    const work = breakAndExplain({ options, telemetry: telemetry.kind, platform, directory, progress, cleanups });
    const hit = await Promise.race([work, interrupted.then(() => null)]);
    if (hit === null) throw new HeadwaterError("DEMO_FAILED", "interrupted before the verdict");
    if (options.until === "signal") {
      progress.say(`running  until Ctrl-C; look at ${platform.apiUrl}`);
      await interrupted;
    }
    return hit;
  } finally {
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
  }
}

/** The platform of a demo, whatever it is made of: telemetry goes in at one address, everything else comes out at the other. */
interface DemoPlatform {
  readonly otlpUrl: string;
  readonly apiUrl: string;
  /** Throws when a part of it has ended by itself. */
  check(): void;
  stop(): Promise<void>;
}

async function startPlatform(options: DemoOptions, parts: { directory: string; progress: Progress }): Promise<DemoPlatform> {
  const { directory, progress } = parts;
  if (options.form === "distributed") return await DistributedPlatform.start({ directory, say: (text) => progress.say(text) });
  progress.say("start    the platform (gateway, ingest, detection, topology, incident, ranking, API)");
  const app = await App.start({
    config: parseConfig(labSpec(join(directory, "data"))),
    platform: createPlatform({ level: "warn" }),
    gatewayId: newGatewayId(),
    webDirectory: builtPage(),
  });
  return { otlpUrl: app.gateway.url(), apiUrl: app.api.url(), check: () => undefined, stop: () => app.stop() };
}

interface Run {
  readonly options: DemoOptions;
  readonly telemetry: TelemetryKind;
  readonly platform: DemoPlatform;
  readonly directory: string;
  readonly progress: Progress;
  readonly cleanups: (() => Promise<void>)[];
}

async function breakAndExplain(run: Run): Promise<boolean> {
  const { options, platform, directory, progress } = run;
  const truthFile = join(directory, "truth.ndjson");
  const lab = new LabProcess({
    seed: options.seed,
    otlpUrl: platform.otlpUrl,
    truthFile,
    telemetry: run.telemetry,
    onEvent: (event) => {
      if (event.event === "progress") progress.say(`lab      ${event.text ?? ""}`);
    },
  });
  run.cleanups.push(() => lab.stop());
  const ready = await lab.waitFor("ready", (event) => event.event === "ready", 90_000);
  const readyS = progress.seconds();
  progress.say(`lab      ${(ready.services as string[]).length} services run, load comes in at ${(ready.entries as string[]).join(", ")}`);
  const agent = run.telemetry === "otlp" ? null : await startLabAgent({ ready, gateway: platform.otlpUrl, directory });
  if (agent !== null) {
    run.cleanups.push(() => agent.stop());
    progress.say(`agent    process ${agent.pid} observes the kernel`);
  }
  progress.say(`learn    what is normal, for ${learnSeconds} to ${learnSeconds + 6} s, while innocent changes are made`);
  const begun = await lab.begin({ fault: options.fault, cycle: 1, settleSeconds: learnSeconds }, faultTimeoutMs);
  if (begun.event === "refused") throw new HeadwaterError("LAB_FAILED", `${options.fault} is not possible here: ${begun.text ?? ""}`);
  const beganS = progress.seconds();
  progress.say(`break    ${options.fault}; where and how badly is known to nobody but the lab`);
  const outcome = await waitForVerdict(run, begun.atMs ?? 0);
  agent?.check();
  const verdictS = progress.seconds();
  const truth = readTruth(truthFile)[0];
  if (truth === undefined) throw new HeadwaterError("DEMO_FAILED", "the lab wrote no truth");
  const seconds = { ready: readyS, fault: beganS, verdict: verdictS, onsetToVerdict: Math.round((verdictS - beganS) * 10) / 10 };
  return tell(run, { ...outcome, truth, seconds });
}

/** Polls the API until the verdict of 15 s after onset is there. */
async function waitForVerdict(run: Run, faultAtMs: number): Promise<Outcome> {
  const deadline = Date.now() + verdictTimeoutMs;
  const told = new Set<string>();
  while (Date.now() < deadline) {
    run.platform.check();
    for (const incident of await incidentsOf(run)) {
      if (incident.openedMs < faultAtMs) continue;
      if (!told.has(incident.id)) {
        const impact = incident.impacts[0];
        const hurt =
          impact === undefined
            ? ""
            : `: ${impact.entity}, ${Math.round(impact.badRatio * 100)} % of requests ${impact.objective === "latency" ? "too slow" : "failing"}`;
        run.progress.say(`detect   INC-${incident.number} opened (${incident.severity})${hurt}`);
        told.add(incident.id);
      }
      for (const verdict of incident.verdicts) {
        if (!told.has(verdict.id)) run.progress.say(`rank     version ${verdict.version} (${verdict.reason}): ${verdict.result.sentence}`);
        told.add(verdict.id);
      }
      const verdict = incident.verdicts.find((candidate) => candidate.askedForMs >= incident.onsetMs + 15_000);
      if (verdict !== undefined) return { incident, verdict };
    }
    await new Promise((done) => setTimeout(done, pollMs));
  }
  throw new HeadwaterError(
    "DEMO_FAILED",
    told.size === 0 ? "no objective burned within a minute of the fault" : "no verdict of 15 s after onset within a minute of the fault",
  );
}

async function incidentsOf({ platform }: Run): Promise<Incident[]> {
  const client = apiClient({ baseUrl: platform.apiUrl, token: null });
  const { items } = await client.call("incidents", { query: { limit: 100 } });
  const incidents = await Promise.all(items.map(({ id }) => client.call("incident", { params: { incident: id } })));
  return incidents.sort((left, right) => left.number - right.number);
}

async function snapshotOf({ platform }: Run, incident: Incident): Promise<EvidenceSnapshot> {
  return await apiClient({ baseUrl: platform.apiUrl, token: null }).call("incidentEvidence", { params: { incident: incident.id } });
}

async function tell(run: Run, found: Outcome & { truth: Truth; seconds: Record<string, number> }): Promise<boolean> {
  const { options, progress } = run;
  const { incident, verdict, truth, seconds } = found;
  const ranking = verdict.result.ranking;
  const first = ranking[0];
  const hit = first !== undefined && isTrue(first, truth);
  const snapshot = await snapshotOf(run, incident);
  const peers = { latestChange: latestChange(snapshot)[0] ?? null, highestZ: highestZ(snapshot)[0] ?? null };
  const reports = await writeReports(run, incident);
  progress.say(`verdict  ${verdict.result.sentence}`);
  for (const [place, candidate] of ranking.slice(0, 3).entries()) {
    progress.say(`         ${place + 1}. ${candidate.type} ${candidate.id}  score ${candidate.score.toFixed(3)}  ${candidate.kind ?? ""}`);
  }
  progress.say(
    `beside   latest change: ${named(peers.latestChange)} ${judged(peers.latestChange, truth)}; highest Z: ${named(peers.highestZ)} ${judged(peers.highestZ, truth)}`,
  );
  progress.say(
    `truth    ${truth.truth.map((item) => `${item.type} ${item.id} (${item.kind})`).join(" or ")}: ${hit ? "ranked first" : "NOT ranked first"}`,
  );
  for (const [format, file] of Object.entries(reports)) progress.say(`report   ${format}: ${file}`);
  if (options.format === "json") {
    const short = ranking.map(({ type, id, score, kind }) => ({ type, id, score, kind }));
    print(JSON.stringify({ truth: truth.truth, ranking: short, hit: hit ? 1 : 0, seconds, reports, peers }));
  }
  return hit;
}

function isTrue(candidate: { type: string; id: string }, truth: Truth): boolean {
  return truth.truth.some((item) => item.type === candidate.type && item.id === candidate.id);
}

function named(candidate: Pick<RankedCandidate, "id"> | null | undefined): string {
  return candidate?.id ?? "none";
}

function judged(candidate: { type: string; id: string } | null | undefined, truth: Truth): string {
  return candidate !== null && candidate !== undefined && isTrue(candidate, truth) ? "(right)" : "(wrong)";
}

async function writeReports(run: Run, incident: Incident): Promise<Record<string, string>> {
  const directory = resolve(run.options.reportDirectory);
  mkdirSync(directory, { recursive: true });
  const client = apiClient({ baseUrl: run.platform.apiUrl, token: null });
  const files: Record<string, string> = {};
  for (const format of reportFormats) {
    files[format] = join(directory, `report.${format}`);
    writeFileSync(files[format], await client.report(incident.id, format));
  }
  return files;
}
