/** One generated shop with the platform beside it: learns, breaks, recovers, records. */
import { join } from "node:path";
import { parseConfig } from "../../config/config.ts";
import type { Incident } from "../../contract/incident.ts";
import { App } from "../app.ts";
import { createPlatform } from "../platform.ts";
import { readIncidents } from "./incident-reader.ts";
import { startLabAgent } from "./lab-agent.ts";
import { labSpec } from "./lab-config.ts";
import { LabProcess } from "./lab-process.ts";
import type { TelemetryKind } from "./lab-words.ts";
import type { Progress } from "./output.ts";
import { newGatewayId } from "./process-life.ts";
import { RecordingWriter } from "./recording.ts";

/** Undisturbed time before each fault, at least: with fault and recovery a cycle is at least 60 s (issue 3). */
const settleSeconds = 40;
/** Before the quiet minutes count. */
const learnMs = 20_000;
const cycleTimeoutMs = 120_000;

export interface ShopRunOptions {
  readonly seed: number;
  readonly faults: readonly string[];
  readonly quietMinutes: number | null;
  readonly telemetry: TelemetryKind;
  /** Where `recording.br` and `truth.ndjson` are written. */
  readonly directory: string;
  readonly dataDirectory: string;
  /** For what is needed while it runs. */
  readonly workDirectory: string;
  readonly progress: Progress;
}

export interface QuietResult {
  readonly minutes: number;
  readonly incidents: Incident[];
}

/** Runs one shop through every fault once (or through quiet minutes) and answers the incidents that were opened. */
export async function recordShop(options: ShopRunOptions): Promise<QuietResult> {
  const { progress, seed, directory } = options;
  const spec = labSpec(options.dataDirectory);
  const startedAtMs = Date.now();
  const writer = new RecordingWriter(join(directory, "recording.br"), {
    recording: 1,
    startedAtMs,
    windowMs: spec.window.windowMs,
    timeScale: spec.timeScale,
  });
  const cleanups: (() => Promise<void>)[] = [() => writer.close()];
  try {
    const app = await App.start({
      config: parseConfig(spec),
      platform: createPlatform({ level: "warn" }),
      gatewayId: newGatewayId(),
      webDirectory: null,
      onRecorded: (body) => writer.add(body),
    });
    cleanups.push(() => app.stop());
    const gateway = app.gateway.url();
    const truthFile = join(directory, "truth.ndjson");
    const lab = new LabProcess({ seed, otlpUrl: gateway, truthFile, telemetry: options.telemetry, onEvent: () => undefined });
    cleanups.push(() => lab.stop());
    const ready = await lab.waitFor("ready", (event) => event.event === "ready", 90_000);
    const agent = options.telemetry === "otlp" ? null : await startLabAgent({ ready, gateway, directory: options.workDirectory });
    if (agent !== null) cleanups.push(() => agent.stop());
    progress.say(`  shop ${seed} runs`);
    const check = (): void => agent?.check();
    if (options.quietMinutes === null) await breakAll(lab, { ...options, check });
    else await stayQuiet(lab, options.quietMinutes);
    check();
    return { minutes: (Date.now() - startedAtMs) / 60_000, incidents: await readIncidents(app.ports.events) };
  } finally {
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
  }
}

async function breakAll(lab: LabProcess, options: ShopRunOptions & { check: () => void }): Promise<void> {
  for (const [index, fault] of options.faults.entries()) {
    const cycle = index + 1;
    options.check();
    const answer = await lab.begin({ fault, cycle, settleSeconds }, cycleTimeoutMs);
    if (answer.event === "refused") {
      options.progress.say(`  ${fault} is left out: ${answer.text ?? ""}`);
      continue;
    }
    options.progress.say(`  ${fault} begins`);
    await lab.waitFor(`the end of ${fault}`, (event) => event.event === "fault-ends" && event.cycle === cycle, cycleTimeoutMs);
    await lab.waitFor(`the recovery from ${fault}`, (event) => event.event === "recovered" && event.cycle === cycle, cycleTimeoutMs);
  }
}

async function stayQuiet(lab: LabProcess, minutes: number): Promise<void> {
  await pause(learnMs);
  lab.send({ command: "quiet", minutes });
  await lab.waitFor("the end of the quiet minutes", (event) => event.event === "quiet-ends", (minutes + 2) * 60_000);
}

function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}
