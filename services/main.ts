#!/usr/bin/env node
/** The command line. Each command is one file in `services/command/`; exit codes are in `docs/cli.md`. */
import { Command, InvalidArgumentError } from "commander";
import { HeadwaterError, toHeadwaterError } from "../contract/error.ts";
import { dropDeadLetter, listDeadLetters, retryDeadLetter, showDeadLetter } from "./command/dead-letters.ts";
import { runDemo } from "./command/demo.ts";
import { runDrill } from "./command/drill.ts";
import { runIncidents } from "./command/incidents.ts";
import { exitCode, type OutputFormat } from "./command/output.ts";
import { runRank } from "./command/rank.ts";
import { runReport } from "./command/report.ts";
import { runStart } from "./command/start.ts";
import { parseRoles } from "./role.ts";
import { productVersion } from "./version.ts";

const faults = ["slow-code", "exception-deploy", "pool-leak", "crash", "slow-dependency", "bad-flag"];
const apiDefault = "http://127.0.0.1:8080";

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError("it must be a whole number, 0 or more.");
  return value;
}

function format(json: boolean | string | undefined): OutputFormat {
  return json === undefined || json === false ? "text" : "json";
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
    await runStart({
      ...(options.config === undefined ? {} : { config: options.config }),
      ...(options.data === undefined ? {} : { dataDirectory: options.data }),
      ...(options.role === undefined ? {} : { roles: parseRoles(options.role) }),
      ...(options.healthPort === undefined ? {} : { healthPort: options.healthPort }),
    });
  });

program
  .command("demo")
  .description("platform, a small shop, one fault, and the verdict")
  .option("--once", "end after the verdict of 15 s after onset")
  .option("--distributed", "real Redis, Neo4j and PostgreSQL, and a process for each role")
  .option("--seed <n>", "draws the shop, the victim and the magnitude", wholeNumber, 1)
  .option("--fault <name>", `one of ${faults.join(", ")}`, "slow-code")
  .option("--reports <directory>", "where the reports are written", "reports")
  .option("--json", "one JSON object as the last line of standard output")
  .action(async (options: { once?: boolean; distributed?: boolean; seed: number; fault: string; reports: string; json?: boolean }) => {
    refuseUnknownFaults([options.fault]);
    const until = options.once === true ? "verdict" : "signal";
    const hit = await runDemo({
      seed: options.seed,
      fault: options.fault,
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
  .option("--faults <names>", "`all`, or names separated by commas", "all")
  .option("--repeats <n>", "shops to generate", wholeNumber, 1)
  .option("--seed <n>", "first seed; without it one is taken from the clock and printed", wholeNumber)
  .option("--json <file>", "write every case and figure")
  .option("--keep <directory>", "keep each shop's telemetry as a recording there")
  .option("--from <directory>", "rank the recordings of an earlier drill again, without shops")
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
      append?: string;
      quietMinutes?: number;
    }) => {
      const chosen = options.faults === "all" ? faults : options.faults.split(",");
      refuseUnknownFaults(chosen);
      const passed = await runDrill({
        faults: chosen,
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

function refuseUnknownFaults(names: readonly string[]): void {
  const unknown = names.filter((name) => !faults.includes(name));
  if (unknown.length > 0)
    throw new HeadwaterError("REQUEST_INVALID", `unknown fault ${unknown.join(", ")}; known are ${faults.join(", ")}`);
}

try {
  await program.parseAsync();
} catch (error) {
  const known = toHeadwaterError(error);
  process.stderr.write(`headwater: ${known.message}\n`);
  if (known.code === "INTERNAL" && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  process.exitCode =
    known.code === "REQUEST_INVALID" || known.code === "CONFIG_INVALID" || known.code === "CASE_INVALID" ? exitCode.usage : exitCode.failed;
}
