/** A loop of openat and close: unwatched, with every event delivered, and below strace. */
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { syscallBits } from "../../services/agent/syscall-names.ts";
import { BenchKernel } from "./kernel.ts";
import { median, type Row, row } from "./row.ts";
import { compile, hasTool, RunningTool, runTool } from "./tool.ts";

const loops = 200_000;
/** strace is slow enough to be measured by fewer. */
const tracedLoops = 20_000;
const goalPercent = 60;
/** Each is short, so that many fit into a round; strace's is long enough alone. */
const timesPerRound = 3;
const ringEveryMs = 5;
const ringBytes = 16_777_216;

/** Waits for a line when it is told to, makes the calls, prints how long all of them took. */
const source = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments) {
  struct timespec begun, ended;
  char line[8];
  int loops = atoi(arguments[1]);
  if (count > 2 && read(0, line, sizeof line) < 0) return 1;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (int loop = 0; loop < loops; loop++) {
    int file = openat(AT_FDCWD, "/etc/hostname", O_RDONLY);
    if (file < 0) return 1;
    close(file);
  }
  clock_gettime(CLOCK_MONOTONIC, &ended);
  printf("%lld\\n", (ended.tv_sec - begun.tv_sec) * 1000000000LL + ended.tv_nsec - begun.tv_nsec);
  return 0;
}`;

export interface SyscallCostOptions {
  readonly rounds: number;
  readonly folder: string;
  readonly tell: (text: string) => void;
}

interface Times {
  readonly bare: number[];
  readonly opens: number[];
  readonly all: number[];
  readonly strace: number[];
}

export async function syscallCost(options: SyscallCostOptions): Promise<Row[]> {
  const program = compile("open-loop", { source, folder: options.folder });
  if (program === null) {
    options.tell("openat+close: no compiler (gcc), left out\n");
    return [];
  }
  const times: Times = { bare: [], opens: [], all: [], strace: [] };
  const delivered = { wanted: 0, come: 0 };
  for (let time = 0; time < options.rounds * timesPerRound; time += 1) {
    times.bare.push(Number(await runTool(program, [String(loops)])) / loops);
    times.opens.push(await withEvents(program, ["openat"], delivered));
    times.all.push(await withEvents(program, ["openat", "close"], delivered));
    if (time % timesPerRound === 0 && hasTool("strace")) {
      const args = ["-f", "-o", "/dev/null", "-e", "trace=openat", program, String(tracedLoops)];
      times.strace.push(Number(await runTool("strace", args)) / tracedLoops);
    }
    options.tell(
      `openat+close, ${time + 1}: ${Object.values(times)
        .map((list: number[]) => Math.round(list.at(-1) ?? Number.NaN))
        .join(", ")} ns\n`,
    );
  }
  return rowsOf(times, delivered);
}

/** Nanoseconds of a loop while each of these calls is told one by one. */
async function withEvents(program: string, calls: readonly string[], delivered: { wanted: number; come: number }): Promise<number> {
  const tool = new RunningTool(program, [String(loops), "wait"]);
  const decoder = new EventDecoder();
  let come = 0;
  const kernel = await BenchKernel.open({
    objects: ["syscall"],
    settings: {
      counts: "off",
      detail: {
        ...{ of: "all", tgid: tool.pid, cgroup: 0n, command: null, perSecond: 0 },
        ...{ numbers: syscallBits(calls), numbersCompat: syscallBits([]) },
      },
    },
    rings: [{ name: "detail_ring", by: "timer", everyMs: ringEveryMs }],
    ringBytes: { detail_ring: ringBytes },
    onBatch: ({ bytes }) =>
      decoder.decode(bytes, (event) => {
        if (event.type === "syscall" && event.tgid === tool.pid && (calls.length > 1 || event.text === "/etc/hostname")) come += 1;
      }),
  });
  try {
    tool.write("go\n");
    await tool.ended;
    const lost = await kernel.lost();
    // Ends of the program's own are told as well where close is.
    delivered.wanted += loops * calls.length;
    delivered.come += Math.min(come, loops * calls.length - lost);
    return Number(tool.output) / loops;
  } finally {
    await kernel.close();
  }
}

function rowsOf({ bare, opens, all, strace }: Times, delivered: { wanted: number; come: number }): Row[] {
  // Each is set against the unwatched loop of the same moment.
  const added = (list: readonly number[], each: number): number =>
    median(list.map((time, index) => 100 * (time / (bare[index * each] ?? Number.NaN) - 1)));
  const yardstick = strace.length === 0 ? null : added(strace, timesPerRound);
  return [
    row({ name: "openat+close: unwatched", value: median(bare), unit: "ns" }),
    row({
      name: "openat+close: each openat delivered with its path",
      value: added(opens, 1),
      unit: "% more",
      yardstick,
      goal: { most: goalPercent },
    }),
    row({ name: "openat+close: each of both delivered", value: added(all, 1), unit: "% more", yardstick }),
    row({ name: "openat+close: events delivered", value: (100 * delivered.come) / delivered.wanted, unit: "%", goal: { least: 100 } }),
    ...(yardstick === null ? [] : [row({ name: "openat+close: below strace -e openat", value: yardstick, unit: "% more" })]),
  ];
}
