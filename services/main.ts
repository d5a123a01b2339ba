#!/usr/bin/env node
/**
 * The command line. Each command is one file in `services/command/`; exit codes are in `docs/cli.md`. Those with much behind them are loaded
 * when they are asked for: the agent must be small.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { toHeadwaterError } from "../contract/error.ts";
import { dropDeadLetter, listDeadLetters, retryDeadLetter, showDeadLetter } from "./command/dead-letters.ts";
import { runIncidents } from "./command/incidents.ts";
import { faultWords, parseFault, parseFaults, parseTelemetry } from "./command/lab-words.ts";
import { exitCode, type OutputFormat } from "./command/output.ts";
import { runReport } from "./command/report.ts";
import { parseRoles } from "./role.ts";
import { productVersion } from "./version.ts";

const apiDefault = "http://127.0.0.1:8080";
const telemetryWords = "otlp, kernel or both; without it both as root where the kernel allows it, else otlp";

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError("it must be a whole number, 0 or more.");
  return value;
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError("it must be a number above 0, at most 86400.");
  return value;
}

function format(json: boolean | string | undefined): OutputFormat {
  return json === undefined || json === false ? "text" : "json";
}

function liveOptions(options: { top?: boolean; seconds?: number; json?: boolean }): {
  view: "lines" | "top";
  seconds: number | null;
  format: OutputFormat;
} {
  return { view: options.top === true ? "top" : "lines", seconds: options.seconds ?? null, format: format(options.json) };
}

const program = new Command("headwater")
  .description("Finds where an incident began, with evidence.")
  .version(productVersion)
  .showHelpAfterError("(headwater --help lists the commands)")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? exitCode.ok : exitCode.usage));

program
  .command("start")
  .description("run the platform until a signal comes")
  .option("--config <file>", "YAML configuration; every key has a default")
  .option("--data <directory>", "data directory, instead of the configuration's")
  .option("--role <names>", "run only these roles, separated by commas, or `all`; needs the URLs of what they share")
  .option(
    "--health-port <n>",
    "where /livez, /readyz and /metrics of a process with --role are, instead of the configuration's",
    wholeNumber,
  )
  .action(async (options: { config?: string; data?: string; role?: string; healthPort?: number }) => {
    const { runStart } = await import("./command/start.ts");
    await runStart({
      ...(options.config === undefined ? {} : { config: options.config }),
      ...(options.data === undefined ? {} : { dataDirectory: options.data }),
      ...(options.role === undefined ? {} : { roles: parseRoles(options.role) }),
      ...(options.healthPort === undefined ? {} : { healthPort: options.healthPort }),
    });
  });

program
  .command("agent")
  .description("what the kernel of this host tells, sent to a gateway until a signal comes")
  .option("--gateway <url>", "where to send, instead of the configuration's")
  .option("--config <file>", "YAML configuration; the section `agent` is read")
  .option("--record <file>", "write down what the kernel says as well")
  .option("--replay <file>", "send what such a file holds instead, as if it happened now; needs no rights")
  .option("--json", "print JSON lines")
  .addOption(new Option("--with-parent", "end with the standard input").hideHelp())
  .action(
    async (options: { gateway?: string; config?: string; record?: string; replay?: string; json?: boolean; withParent?: boolean }) => {
      const { json, withParent, ...given } = options;
      const { runAgent } = await import("./command/agent.ts");
      await runAgent({ ...given, withParent: withParent === true ? "yes" : "no", format: format(json) });
    },
  );

interface DemoWords {
  once?: boolean;
  distributed?: boolean;
  seed: number;
  fault: string;
  telemetry?: string;
  reports: string;
  json?: boolean;
}

program
  .command("doctor")
  .description("what of the agent works on this machine, what does not, why, and what to do")
  .option("--program <file>", "one more compiled object (.bpf.o) that is tried")
  .option("--json", "print JSON")
  .action(async (options: { program?: string; json?: boolean }) => {
    const { runDoctor } = await import("./command/doctor.ts");
    process.exitCode = runDoctor({ program: options.program ?? null, format: format(options.json) });
  });

program
  .command("syscalls")
  .description("system calls as they are made, or how often; of everything, or of what is chosen")
  .option("--pid <n>", "of this process", wholeNumber)
  .option("--command <name>", "of processes that the kernel calls so")
  .option("--cgroup <path>", "of this control group (v2) and those below it")
  .option("--syscall <names>", "only these calls, separated by commas, or `all`", "all")
  .option("--top", "a table of frequencies, every second")
  .option("--seconds <n>", "end after so long", secondsOf)
  .option("--json", "print JSON lines")
  .action(
    async (options: {
      pid?: number;
      command?: string;
      cgroup?: string;
      syscall: string;
      top?: boolean;
      seconds?: number;
      json?: boolean;
    }) => {
      const { runSyscalls } = await import("./command/syscalls.ts");
      process.exitCode = await runSyscalls({
        pid: options.pid ?? null,
        command: options.command ?? null,
        cgroup: options.cgroup ?? null,
        syscall: options.syscall,
        ...liveOptions(options),
      });
    },
  );

program
  .command("network")
  .description("packets and bytes of each interface, beside the last five minutes")
  .option("--seconds <n>", "end after so long", secondsOf)
  .option("--json", "print JSON lines")
  .action(async (options: { seconds?: number; json?: boolean }) => {
    const { runNetwork } = await import("./command/network.ts");
    process.exitCode = await runNetwork(liveOptions(options));
  });

program
  .command("requests")
  .description("requests as they are answered, or how often each caller asks each callee")
  .option("--top", "a table of dependencies, every second")
  .option("--seconds <n>", "end after so long", secondsOf)
  .option("--json", "print JSON lines")
  .action(async (options: { top?: boolean; seconds?: number; json?: boolean }) => {
    const { runRequests } = await import("./command/requests.ts");
    process.exitCode = await runRequests(liveOptions(options));
  });

program
  .command("demo")
  .description("platform, a small shop, one fault, and the verdict")
  .option("--once", "end after the verdict of 15 s after onset")
  .option("--distributed", "real Redis, Neo4j and PostgreSQL, and a process for each role")
  .option("--seed <n>", "draws the shop, the victim and the magnitude", wholeNumber, 1)
  .option("--fault <name>", `one of ${faultWords}`, "slow-code")
  .option("--telemetry <kind>", telemetryWords)
  .option("--reports <directory>", "where the reports are written", "reports")
  .option("--json", "one JSON object as the last line of standard output")
  .action(async (options: DemoWords) => {
    const until = options.once === true ? "verdict" : "signal";
    const { runDemo } = await import("./command/demo.ts");
    const hit = await runDemo({
      seed: options.seed,
      fault: parseFault(options.fault),
      telemetry: options.telemetry === undefined ? null : parseTelemetry(options.telemetry, "--telemetry"),
      until,
      form: options.distributed === true ? "distributed" : "embedded",
      format: format(options.json),
      reportDirectory: options.reports,
    });
    process.exitCode = hit ? exitCode.ok : exitCode.failed;
  });

program
  .command("drill")
  .description("break generated shops on purpose and count how often the cause is ranked first")
  .option("--faults <names>", "`all` (which need no root), `root`, `every`, or names separated by commas", "all")
  .option("--telemetry <kind>", telemetryWords)
  .option("--repeats <n>", "shops to generate", wholeNumber, 1)
  .option("--seed <n>", "first seed; without it one is taken from the clock and printed", wholeNumber)
  .option("--json <file>", "write every case and figure")
  .option("--keep <directory>", "keep each shop's telemetry as a recording there")
  .option("--from <directory>", "rank the recordings of an earlier drill again, without shops")
  .option("--use <kind>", "what of recordings is ranked: otlp, kernel or both", "both")
  .option("--append <file>", "go on with the JSON of an earlier drill")
  .option("--quiet-minutes <n>", "no fault: changing load and harmless deploys; counts incidents", wholeNumber)
  .action(
    async (options: {
      faults: string;
      repeats: number;
      seed?: number;
      json?: string;
      keep?: string;
      from?: string;
      telemetry?: string;
      use: string;
      append?: string;
      quietMinutes?: number;
    }) => {
      const faults = parseFaults(options.faults);
      const use = parseTelemetry(options.use, "--use");
      const { runDrill } = await import("./command/drill.ts");
      const passed = await runDrill({
        faults,
        telemetry: options.telemetry === undefined ? null : parseTelemetry(options.telemetry, "--telemetry"),
        use,
        repeats: options.repeats,
        seed: options.seed ?? Math.floor(Date.now() / 1_000),
        jsonFile: options.json ?? options.append ?? null,
        appendFile: options.append ?? null,
        keepDirectory: options.keep ?? null,
        fromDirectory: options.from ?? null,
        quietMinutes: options.quietMinutes ?? null,
      });
      process.exitCode = passed ? exitCode.ok : exitCode.failed;
    },
  );

program
  .command("rank")
  .description("rank the causes of an incident that is in files (docs/case-files.md)")
  .requiredOption("--case <directory>", "the case folder")
  .option("--json", "print JSON")
  .action(async (options: { case: string; json?: boolean }) => {
    const { runRank } = await import("./command/rank.ts");
    await runRank({ directory: options.case, format: format(options.json) });
  });

program
  .command("incidents")
  .description("list the incidents of a running platform")
  .option("--api <url>", "where its API is", apiDefault)
  .option("--token <token>", "a token with the role viewer")
  .option("--json", "print JSON")
  .action(async (options: { api: string; token?: string; json?: boolean }) => {
    await runIncidents({ baseUrl: options.api, token: options.token ?? null, format: format(options.json) });
  });

program
  .command("report")
  .description("print or write the report of an incident of a running platform")
  .argument("<incident>", "its id or number (INC-3, 3)")
  .option("--api <url>", "where its API is", apiDefault)
  .option("--token <token>", "a token with the role viewer")
  .option("--format <format>", "html, md or json", "md")
  .option("--json", "the same as --format json")
  .option("--out <file>", "write there instead of standard output")
  .action(async (incident: string, options: { api: string; token?: string; format: string; json?: boolean; out?: string }) => {
    const reportFormat = options.json === true ? "json" : options.format;
    await runReport({ incident, baseUrl: options.api, token: options.token ?? null, reportFormat, outFile: options.out ?? null });
  });

const deadLetters = program.command("dead-letters").description("messages that a stage of a running platform could not handle");

interface ApiOptions {
  api: string;
  token?: string;
  json?: boolean;
}

function addressOf(options: ApiOptions): { baseUrl: string; token: string | null; format: OutputFormat } {
  return { baseUrl: options.api, token: options.token ?? null, format: format(options.json) };
}

/** A subcommand about one of them, or about all. */
function deadLetterCommand(name: string, description: string, role: "viewer" | "admin"): Command {
  return deadLetters
    .command(name)
    .description(description)
    .option("--api <url>", "where its API is", apiDefault)
    .option("--token <token>", `a token with the role ${role}`)
    .option("--json", "print JSON");
}

deadLetterCommand("list", "list them, newest first", "viewer").action((options: ApiOptions) => listDeadLetters(addressOf(options)));
deadLetterCommand("show", "print one with its message", "viewer")
  .argument("<id>", "as the list prints it")
  .action((id: string, options: ApiOptions) => showDeadLetter(id, addressOf(options)));
deadLetterCommand("retry", "hand it out again to the stage that could not handle it", "admin")
  .argument("<id>", "as the list prints it")
  .action((id: string, options: ApiOptions) => retryDeadLetter(id, addressOf(options)));
deadLetterCommand("drop", "forget it for good", "admin")
  .argument("<id>", "as the list prints it")
  .action((id: string, options: ApiOptions) => dropDeadLetter(id, addressOf(options)));

try {
  await program.parseAsync();
} catch (error) {
  const known = toHeadwaterError(error);
  process.stderr.write(`headwater: ${known.message}\n`);
  if (known.code === "INTERNAL" && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  const isUsage = known.code === "REQUEST_INVALID" || known.code === "CONFIG_INVALID" || known.code === "CASE_INVALID";
  process.exitCode = isUsage ? exitCode.usage : known.code === "KERNEL_UNAVAILABLE" ? exitCode.missing : exitCode.failed;
}
