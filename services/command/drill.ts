/**
 * `headwater drill`: generated shops, each broken in every way once, and how often the cause was ranked first (design §15).
 * The truth is read from the lab's file by the scorer alone. A fault without an incident is a miss.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Incident } from "../../contract/incident.ts";
import type { App } from "../app.ts";
import { type DrillCase, drillTable, judgeCases, summarise } from "./drill-score.ts";
import { type QuietResult, recordShop } from "./drill-shop.ts";
import { readIncidents } from "./incident-reader.ts";
import type { TelemetryKind } from "./lab-words.ts";
import { Progress, print } from "./output.ts";
import { bodiesOf, readRecording } from "./recording.ts";
import { replay } from "./replay.ts";
import { chooseTelemetry, type TelemetryChoice } from "./telemetry-choice.ts";
import { readTruth } from "./truth.ts";

export interface DrillOptions {
  readonly faults: readonly string[];
  readonly repeats: number;
  readonly seed: number;
  readonly jsonFile: string | null;
  readonly appendFile: string | null;
  readonly keepDirectory: string | null;
  readonly fromDirectory: string | null;
  readonly quietMinutes: number | null;
  /** Null: the most that this machine can do. */
  readonly telemetry: TelemetryKind | null;
  /** Of recordings: what of them is ranked. */
  readonly use: TelemetryKind;
}

/** Resolves to false only when a quiet drill opened an incident; how good a ranking is, is for the reader of the table to judge. */
export async function runDrill(options: DrillOptions): Promise<boolean> {
  const progress = new Progress();
  const telemetry = options.fromDirectory === null ? tellChoice(chooseTelemetry(options.telemetry), progress) : options.use;
  if (options.quietMinutes !== null) return tellQuiet(await quiet(options, { progress, telemetry, minutes: options.quietMinutes }));
  const cases: DrillCase[] = options.appendFile === null ? [] : readCases(options.appendFile);
  if (cases.length > 0) progress.say(`${cases.length} cases are there already`);
  const runs = options.fromDirectory === null ? freshRuns(options) : recordedRuns(options.fromDirectory);
  for (const run of runs) {
    if (cases.some((known) => known.system === run.system)) continue;
    progress.say(`${run.system}: ${options.fromDirectory === null ? "starting a shop" : "replaying"}`);
    const found =
      options.fromDirectory === null ? await drillShop(options, run, { progress, telemetry }) : await replayShop(options, run, progress);
    cases.push(...found);
    if (options.jsonFile !== null) writeCases(options.jsonFile, cases, { seed: options.seed, telemetry });
  }
  for (const line of drillTable(cases)) print(line);
  return true;
}

interface Run {
  readonly system: string;
  readonly seed: number;
  /** Where its recording and truth are, or will be. */
  readonly directory: string | null;
}

function freshRuns(options: DrillOptions): Run[] {
  return Array.from({ length: options.repeats }, (_, index) => {
    const seed = options.seed + index;
    const system = `shop-${seed}`;
    return { system, seed, directory: options.keepDirectory === null ? null : join(options.keepDirectory, system) };
  });
}

function recordedRuns(directory: string): Run[] {
  return readdirSync(directory)
    .filter((name) => existsSync(join(directory, name, "recording.br")))
    .sort()
    .map((name) => ({ system: name, seed: 0, directory: join(directory, name) }));
}

function tellChoice(choice: TelemetryChoice, progress: Progress): TelemetryKind {
  progress.say(choice.words);
  return choice.kind;
}

interface Live {
  readonly progress: Progress;
  readonly telemetry: TelemetryKind;
}

async function drillShop(options: DrillOptions, run: Run, { progress, telemetry }: Live): Promise<DrillCase[]> {
  const temporary = mkdtempSync(join(tmpdir(), "headwater-drill-"));
  try {
    const directory = run.directory ?? temporary;
    mkdirSync(directory, { recursive: true });
    const result = await recordShop({
      seed: run.seed,
      faults: options.faults,
      quietMinutes: null,
      directory,
      dataDirectory: join(temporary, "data"),
      workDirectory: temporary,
      telemetry,
      progress,
    });
    return tellCases(judgeCases(run.system, readTruth(join(directory, "truth.ndjson")), result.incidents), progress);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function replayShop(options: DrillOptions, run: Run, progress: Progress): Promise<DrillCase[]> {
  const directory = run.directory ?? "";
  const temporary = mkdtempSync(join(tmpdir(), "headwater-replay-"));
  try {
    const incidents = await replayIncidents(join(directory, "recording.br"), { dataDirectory: join(temporary, "data"), use: options.use });
    return tellCases(judgeCases(run.system, readTruth(join(directory, "truth.ndjson")), incidents), progress);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function replayIncidents(file: string, options: { dataDirectory: string; use: TelemetryKind }): Promise<Incident[]> {
  const recording = bodiesOf(readRecording(file), options.use);
  const app: App = await replay({ recording, dataDirectory: options.dataDirectory, webDirectory: null });
  try {
    return await readIncidents(app.ports.events);
  } finally {
    await app.stop();
  }
}

function tellCases(cases: DrillCase[], progress: Progress): DrillCase[] {
  for (const one of cases) {
    const place = one.rankStrict === null ? "no verdict" : `place ${one.rankStrict}`;
    progress.say(
      `  ${one.faultType.padEnd(18)} ${place.padEnd(10)} truth ${one.truth.map((item) => item.id).join(" or ")}; first ${one.ranking[0]?.id ?? "none"}`,
    );
  }
  return cases;
}

async function quiet(options: DrillOptions, { minutes, ...live }: Live & { minutes: number }): Promise<QuietResult> {
  const temporary = mkdtempSync(join(tmpdir(), "headwater-quiet-"));
  try {
    return await recordShop({
      seed: options.seed,
      faults: [],
      quietMinutes: minutes,
      directory: temporary,
      dataDirectory: join(temporary, "data"),
      workDirectory: temporary,
      ...live,
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function tellQuiet(result: QuietResult): boolean {
  print(`${result.incidents.length} incidents in ${result.minutes} quiet minutes`);
  for (const incident of result.incidents)
    print(`INC-${incident.number}: ${incident.alerts.map((alert) => `${alert.entity} ${alert.objective}`).join(", ")}`);
  return result.incidents.length === 0;
}

function readCases(file: string): DrillCase[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { cases: DrillCase[] }).cases : [];
}

function writeCases(file: string, cases: readonly DrillCase[], of: { seed: number; telemetry: TelemetryKind }): void {
  writeFileSync(file, `${JSON.stringify({ name: "drill", ...of, rows: summarise(cases), cases }, null, 1)}\n`);
}
