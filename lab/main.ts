/**
 * The shop as one program: `node dist/lab/main.js --seed N --otlp URL --changes URL [--truth FILE] [--namespace NS]
 * [--postgres URL] [--redis URL] [--datastores auto|own] [--telemetry otlp|kernel|both] [--rights auto|none]`. With `kernel` the services report
 * nothing of themselves; without rights it does as it would without root. Commands come on standard input, events go to standard output (see
 * protocol.ts).
 * It ends, and everything it started, at `quit`, at the end of standard input, at SIGTERM and at SIGINT.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { drawCycle } from "./draw-cycle.ts";
import { drawShop } from "./draw-shop.ts";
import { type FaultName, targetsOf } from "./fault/fault.ts";
import { faultTable } from "./fault/table.ts";
import { LabError, textOf } from "./lab-error.ts";
import { Load } from "./load.ts";
import { openMachine } from "./machine.ts";
import { type LabCommand, type LabEvent, parseCommand } from "./protocol.ts";
import { runQuiet } from "./quiet.ts";
import { runCycle, type Stage } from "./run-cycle.ts";
import { Shop } from "./shop.ts";
import { StoppedError } from "./sleep.ts";
import { entityIdOf } from "./spec.ts";

/** Commands that wait for the ones before them, at most. */
const waitingMax = 1_000;
const exitCode = { ended: 0, failed: 1, usage: 2 } as const;

interface Arguments {
  readonly seed: number;
  readonly otlpUrl: string;
  readonly changesUrl: string;
  readonly truthFile: string | null;
  readonly namespace: string | null;
  readonly postgresUrl: string | null;
  readonly redisUrl: string | null;
  readonly datastores: "auto" | "own";
  readonly telemetry: "otlp" | "kernel" | "both";
  readonly rights: "auto" | "none";
}

/** The arguments, or a sentence that says which one is wrong. */
function readArguments(words: readonly string[]): Arguments | string {
  const text = { type: "string" } as const;
  const options = {
    seed: text,
    otlp: text,
    changes: text,
    truth: text,
    namespace: text,
    postgres: text,
    redis: text,
    datastores: text,
    telemetry: text,
    rights: text,
  };
  try {
    const { values } = parseArgs({ args: [...words], options, strict: true });
    const seed = Number(values.seed);
    if (values.seed === undefined || !Number.isSafeInteger(seed)) return "--seed must be a whole number";
    const { datastores = "auto", telemetry = "otlp", rights = "auto" } = values;
    if (datastores !== "auto" && datastores !== "own") return "--datastores must be auto or own";
    if (telemetry !== "otlp" && telemetry !== "kernel" && telemetry !== "both") return "--telemetry must be otlp, kernel or both";
    if (rights !== "auto" && rights !== "none") return "--rights must be auto or none";
    for (const name of ["otlp", "changes"] as const) {
      if (!URL.canParse(values[name] ?? "")) return `--${name} must be a URL`;
    }
    for (const name of ["postgres", "redis"] as const) {
      if (values[name] !== undefined && !URL.canParse(values[name])) return `--${name} must be a URL`;
    }
    return {
      seed,
      otlpUrl: values.otlp ?? "",
      changesUrl: values.changes ?? "",
      truthFile: values.truth ?? null,
      namespace: values.namespace ?? null,
      postgresUrl: values.postgres ?? null,
      redisUrl: values.redis ?? null,
      datastores,
      telemetry,
      rights,
    };
  } catch (error) {
    return textOf(error);
  }
}

function emit(event: LabEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** The shop from its start to its end. */
class Program {
  readonly #options: Arguments;
  readonly #abort = new AbortController();
  readonly #waiting: LabCommand[] = [];
  #wake: () => void = () => {};
  #shop: Shop | null = null;
  #load: Load | null = null;
  #failure: unknown = null;

  constructor(options: Arguments) {
    this.#options = options;
  }

  /** Ends the program; a reason makes it a failure. Idempotent. */
  stop(failure: unknown = null): void {
    this.#failure ??= failure;
    this.#abort.abort();
    this.#wake();
  }

  /** Takes a line of standard input. */
  take(line: string): void {
    if (line.trim() === "") return;
    const command = parseCommand(line);
    if (typeof command === "string") emit({ event: "refused", text: command });
    else if (command.command === "quit") this.stop();
    else if (this.#waiting.length >= waitingMax) emit({ event: "refused", text: `${waitingMax} commands are waiting already` });
    else {
      this.#waiting.push(command);
      this.#wake();
    }
  }

  /** Resolves with the exit code when everything has ended. */
  async run(): Promise<number> {
    try {
      await this.#play(await this.#start());
    } catch (error) {
      if (!(error instanceof StoppedError)) this.#failure ??= error;
    }
    this.#load?.stop();
    await this.#shop?.stop();
    if (this.#failure === null) return exitCode.ended;
    emit({ event: "failed", code: this.#failure instanceof LabError ? this.#failure.code : "INTERNAL", text: textOf(this.#failure) });
    return exitCode.failed;
  }

  async #start(): Promise<Stage> {
    const startedMs = performance.now();
    const { seed, namespace, otlpUrl, telemetry, changesUrl, truthFile } = this.#options;
    const spec = drawShop({ seed, namespace });
    const machine = await openMachine(this.#options.rights);
    const shop = new Shop({
      ...this.#options,
      otlpUrl: telemetry === "kernel" ? null : otlpUrl,
      machine,
      spec,
      progress: (text) => emit({ event: "progress", text }),
      onBroken: (text) => this.stop(new LabError(text)),
    });
    this.#shop = shop;
    const datastores = await Promise.race([shop.ready(), this.#stopped()]);
    const load = new Load(spec, (service) => shop.placeOf(service));
    this.#load = load;
    emit({
      event: "ready",
      services: spec.services.map((service) => entityIdOf(spec, service.name)),
      entries: spec.entries.map((entry) => entityIdOf(spec, entry.service)),
      datastores,
      cgroup: machine.firewall === null ? null : (machine.groups?.path ?? null),
      seconds: Math.round((performance.now() - startedMs) / 10) / 100,
    });
    return { shop, load, changesUrl, truthFile, emit, signal: this.#abort.signal };
  }

  #stopped(): Promise<never> {
    return new Promise((_resolve, reject) => {
      const stop = (): void => reject(new StoppedError("stopped while starting"));
      if (this.#abort.signal.aborted) stop();
      else this.#abort.signal.addEventListener("abort", stop, { once: true });
    });
  }

  async #play(stage: Stage): Promise<void> {
    while (!this.#abort.signal.aborted) {
      const command = this.#waiting.shift();
      if (command === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else await this.#obey(stage, command);
    }
  }

  async #obey(stage: Stage, command: LabCommand): Promise<void> {
    if (command.command === "cycle") {
      const { cycle, fault, durationSeconds } = command;
      const obstacle = obstacleTo(stage.shop, fault);
      if (obstacle !== null) {
        emit({ event: "refused", text: obstacle, cycle });
        return;
      }
      const plan = drawCycle(stage.shop.spec, { cycle, fault, settleMs: command.settleSeconds * 1_000 });
      await runCycle(stage, { ...plan, durationMs: durationSeconds === null ? plan.durationMs : durationSeconds * 1_000 });
    } else if (command.command === "quiet") {
      const before = stage.load.totals();
      await runQuiet(stage, command.minutes);
      const after = stage.load.totals();
      const [requests, failed] = [after.answered - before.answered, after.failed - before.failed];
      emit({ event: "quiet-ends", atMs: Date.now(), requests, failed, dropped: after.dropped - before.dropped });
    }
  }
}

/** Why a fault cannot be played on this shop, as a sentence; null where it can. */
function obstacleTo(shop: Shop, fault: FaultName): string | null {
  if (targetsOf(shop.spec, faultTable[fault]).length === 0) return `there is nothing in this shop that ${fault} could hurt`;
  if (faultTable[fault].rights === "none") return null;
  try {
    shop.machine();
    return null;
  } catch (error) {
    return textOf(error);
  }
}

async function main(): Promise<void> {
  const options = readArguments(process.argv.slice(2));
  if (typeof options === "string") {
    process.stderr.write(`${options}\n`);
    process.exitCode = exitCode.usage;
    return;
  }
  const program = new Program(options);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => program.stop());
  // Whoever read our events is gone, and with them the reason to go on.
  process.stdout.on("error", () => program.stop());
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => program.take(line));
  lines.on("close", () => program.stop());
  const code = await program.run();
  lines.close();
  process.stdout.write("", () => process.exit(code));
}

await main();
