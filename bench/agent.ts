/** `bench agent`: what watching the kernel costs, and how fast it is, beside the tools that everybody has. As root on Linux only. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { HeadwaterError } from "../contract/error.ts";
import { KernelProbe } from "../native/kernel-probe.ts";
import { atWork } from "./agent/at-work.ts";
import { ringRate } from "./agent/ring-rate.ts";
import type { Row } from "./agent/row.ts";
import { serverCost } from "./agent/server-cost.ts";
import { syscallCost } from "./agent/syscall-cost.ts";
import { wakeTime } from "./agent/wake-time.ts";
import { tableText } from "./figures.ts";

const sectionNames = ["servers", "syscalls", "ring", "wake", "work"] as const;
type SectionName = (typeof sectionNames)[number];

/** How `agent` is called. */
export const agentUsage = `agent [--seconds N] [--rounds N] [--minutes N] [--only ${sectionNames.join(",")}] [--json FILE]`;

interface Options {
  /** Of one measurement. */
  readonly seconds: number;
  readonly rounds: number;
  /** That the agent is watched under load. */
  readonly minutes: number;
  readonly only: readonly SectionName[];
  readonly json: string | null;
}

interface Tools {
  readonly folder: string;
  readonly tell: (text: string) => void;
}

const sections: Readonly<Record<SectionName, (options: Options & Tools) => Promise<Row[]>>> = {
  servers: serverCost,
  syscalls: syscallCost,
  ring: ringRate,
  wake: wakeTime,
  work: atWork,
};

/** Runs the benchmark, prints its table through `write` (what happens meanwhile goes to standard error), writes the JSON file if asked to. */
export async function benchAgent(args: readonly string[], write: (text: string) => void): Promise<void> {
  const options = optionsOf(args);
  const able = KernelProbe.available();
  if (!able.ok) throw new HeadwaterError("LAB_FAILED", able.reason);
  if (process.getuid?.() !== 0) throw new HeadwaterError("LAB_FAILED", "programs are loaded into the kernel by root only");
  const folder = await mkdtemp(join(tmpdir(), "headwater-bench-agent-"));
  const tell = (text: string): void => void process.stderr.write(text);
  try {
    const rows: Row[] = [];
    for (const name of options.only) rows.push(...(await sections[name]({ ...options, folder, tell })));
    write(`${tableText([["", "value", "unit", "yardstick", "ratio", "goal", "met"], ...rows.map(cells)])}\n`);
    if (options.json !== null) await writeFile(options.json, `${JSON.stringify({ name: "agent", rows }, null, 2)}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function optionsOf(args: readonly string[]): Options {
  const text = { type: "string" } as const;
  const settings = { seconds: text, rounds: text, minutes: text, only: text, json: text };
  let values: Partial<Record<keyof typeof settings, string>>;
  try {
    values = parseArgs({ args: [...args], options: settings, strict: true }).values;
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause));
  }
  const number = (name: "seconds" | "rounds" | "minutes", usual: number, min: number): number => {
    const value = Number(values[name] ?? usual);
    if (!(value >= min) || (name !== "minutes" && !Number.isInteger(value))) throw invalid(`--${name} must be a number of at least ${min}`);
    return value;
  };
  const only = (values.only ?? sectionNames.join(",")).split(",").map((word) => {
    const name = sectionNames.find((known) => known === word);
    if (name === undefined) throw invalid(`--only ${word}: one of ${sectionNames.join(", ")}`);
    return name;
  });
  return {
    seconds: number("seconds", 3, 1),
    rounds: number("rounds", 5, 1),
    minutes: number("minutes", 10, 0.1),
    only,
    json: values.json ?? null,
  };
}

function invalid(message: string): HeadwaterError {
  return new HeadwaterError("REQUEST_INVALID", `${message}\nusage: ${agentUsage}`);
}

function cells({ name, value, unit, yardstick, ratio, goal, met }: Row): string[] {
  const number = (value: number | null): string => {
    if (value === null) return "";
    return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-GB") : value.toPrecision(3);
  };
  return [name, number(value), unit, number(yardstick), number(ratio), number(goal), met === null ? "" : met ? "yes" : "no"];
}
