/** From the moment in the kernel to JavaScript: read by waking and by a timer, with what each costs in processor time. */
import { KernelProbe } from "../../native/kernel-probe.ts";
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { encodeSettings, type ProbeSettings, quietSettings } from "../../services/agent/probe-settings.ts";
import { syscallBits } from "../../services/agent/syscall-names.ts";
import { BenchKernel, objectOf } from "./kernel.ts";
import { quantile, type Row, row } from "./row.ts";
import { compile, RunningTool } from "./tool.ts";

const everyUs = 333;
const goalUs = 50;
const timerMs = 5;
const waitMs = 10;
const ringBytes = 1_048_576;
const wakeFirst = 1;

/** One call so often, for some seconds. */
const source = `
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments) {
  struct timespec pause = { 0, atoi(arguments[2]) * 1000 };
  char line[8];
  if (count < 3 || read(0, line, sizeof line) < 0) return 1;
  for (long left = atol(arguments[1]) * 1000000L / atoi(arguments[2]); left > 0; left--) {
    close(openat(AT_FDCWD, "/etc/hostname", O_RDONLY));
    nanosleep(&pause, NULL);
  }
  return 0;
}`;

interface Delays {
  readonly delaysUs: readonly number[];
  /** Of this process, ms in each second. */
  readonly cpuMs: number;
}

export async function wakeTime(options: { seconds: number; folder: string; tell: (text: string) => void }): Promise<Row[]> {
  const program = compile("call-now-and-then", { source, folder: options.folder });
  if (program === null) {
    options.tell("waking: no compiler (gcc), left out\n");
    return [];
  }
  const start = (): RunningTool => new RunningTool(program, [String(options.seconds), String(everyUs)]);
  const here = await inThisThread(start());
  const woken = await throughThread(start(), "wake");
  const timed = await throughThread(start(), "timer");
  const figures = (delays: Delays): string =>
    `p50 ${quantile(delays.delaysUs, 0.5).toFixed(0)} µs, p99 ${quantile(delays.delaysUs, 0.99).toFixed(0)} µs, ${delays.cpuMs.toFixed(1)} ms/s of ${delays.delaysUs.length}`;
  options.tell(`waking: here ${figures(here)}; through the thread ${figures(woken)}; timer ${figures(timed)}\n`);
  const p50 = (delays: Delays): number => quantile(delays.delaysUs, 0.5);
  return [
    row({ name: "waking: kernel to JavaScript, p50", value: p50(here), unit: "µs", yardstick: p50(timed), goal: { most: goalUs } }),
    row({
      name: "waking: kernel to JavaScript, p99",
      value: quantile(here.delaysUs, 0.99),
      unit: "µs",
      yardstick: quantile(timed.delaysUs, 0.99),
    }),
    row({ name: "waking: its CPU", value: here.cpuMs, unit: "ms/s", yardstick: timed.cpuMs }),
    row({ name: "waking: kernel to the main thread, p50", value: p50(woken), unit: "µs", yardstick: p50(timed) }),
    row({ name: "waking: its CPU with both threads", value: woken.cpuMs, unit: "ms/s", yardstick: timed.cpuMs }),
    row({ name: `timer of ${timerMs} ms: kernel to the main thread, p50`, value: p50(timed), unit: "µs" }),
    row({ name: `timer of ${timerMs} ms: its CPU`, value: timed.cpuMs, unit: "ms/s" }),
  ];
}

function settingsOf(tool: RunningTool, wakeBytes: number): Partial<ProbeSettings> {
  const numbers = syscallBits(["openat"]);
  const detail = { of: "all", tgid: tool.pid, cgroup: 0n, command: null, perSecond: 0, numbers, numbersCompat: syscallBits([]) } as const;
  return { counts: "off", wakeBytes, detail };
}

/** Notes how old each event is when JavaScript has it. Both clocks are CLOCK_MONOTONIC. */
class DelayMeter {
  readonly delaysUs: number[] = [];
  readonly #decoder = new EventDecoder();
  readonly #begun = { cpu: process.cpuUsage(), atMs: performance.now() };

  take(bytes: Uint8Array): void {
    const nowNs = Number(process.hrtime.bigint());
    this.#decoder.decode(bytes, ({ atNs }) => this.delaysUs.push((nowNs - atNs) / 1_000));
  }

  end(): Delays {
    const { user, system } = process.cpuUsage(this.#begun.cpu);
    return { delaysUs: this.delaysUs, cpuMs: (user + system) / (performance.now() - this.#begun.atMs) };
  }
}

/** The thread that waits is the one that works on what comes. */
async function inThisThread(tool: RunningTool): Promise<Delays> {
  const probe = new KernelProbe();
  try {
    probe.open({ objects: [objectOf("syscall")], ringBytes: { detail_ring: ringBytes }, mapEntriesMax: {} });
    probe.writeSettings("syscall", encodeSettings({ ...quietSettings, selfTgid: process.pid, ...settingsOf(tool, wakeFirst) }));
    probe.load();
    probe.attach();
    const buffer = new ArrayBuffer(ringBytes);
    const meter = new DelayMeter();
    tool.write("go\n");
    while (tool.status === null) {
      if (probe.waitReadable("detail_ring", waitMs)) {
        for (let bytes = probe.drain("detail_ring", buffer); bytes > 0; bytes = probe.drain("detail_ring", buffer)) {
          meter.take(new Uint8Array(buffer, 0, bytes));
        }
      } else {
        // Whether the program has ended is told by the event loop.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return meter.end();
  } finally {
    probe.close();
    await tool.stop();
  }
}

async function throughThread(tool: RunningTool, by: "wake" | "timer"): Promise<Delays> {
  let meter: DelayMeter | null = null;
  const kernel = await BenchKernel.open({
    objects: ["syscall"],
    settings: settingsOf(tool, by === "wake" ? wakeFirst : 0),
    rings: [{ name: "detail_ring", by, everyMs: timerMs }],
    ringBytes: { detail_ring: ringBytes },
    onBatch: ({ bytes }) => meter?.take(bytes),
  });
  try {
    meter = new DelayMeter();
    tool.write("go\n");
    await tool.ended;
    return meter.end();
  } finally {
    await kernel.close();
    await tool.stop();
  }
}
