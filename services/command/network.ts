/** `headwater network`: what each interface carries, beside the last five minutes, by the plain rule Z > 3. */
import { decodeInterfaces } from "../agent/decode-counters.ts";
import { readInterfaceNames } from "../agent/host-signals.ts";
import { whenAsked } from "../agent/kernel-message.ts";
import { InterfaceRates, type InterfaceRow, type JudgedRate } from "../agent/live-interfaces.ts";
import { type LiveProbe, openLiveProbe } from "../agent/live-probe.ts";
import { countText, printable } from "../agent/live-text.ts";
import { quietSettings } from "../agent/probe-settings.ts";
import { type LiveSurroundings, processSurroundings, sayEnd, untilOver, withProbe, writeTable } from "./live-output.ts";
import type { OutputFormat } from "./output.ts";
import { table } from "./table.ts";

export interface NetworkOptions {
  readonly seconds: number | null;
  readonly format: OutputFormat;
}

const readEveryMs = 1_000;

/** Answers the exit code. */
export async function runNetwork(options: NetworkOptions, surroundings: LiveSurroundings = processSurroundings()): Promise<number> {
  const opened = await openLiveProbe(
    {
      needed: ["interface"],
      further: [],
      programs: ["interface_receive", "interface_send"],
      settings: { ...quietSettings, selfTgid: process.pid },
      ringBytes: {},
      mapEntriesMax: {},
      rings: [],
      maps: [{ name: "interfaces", everyMs: whenAsked }],
      iterators: [],
    },
    surroundings.places,
  );
  return await withProbe(opened, surroundings, (probe) => show(probe, options, surroundings));
}

async function show(probe: LiveProbe, { seconds, format }: NetworkOptions, surroundings: LiveSurroundings): Promise<void> {
  const rates = new InterfaceRates();
  const { over, cancel } = untilOver(surroundings, seconds);
  const timer = setInterval(() => void probe.source.readNow().catch(() => undefined), readEveryMs);
  let shown = 0;
  let isOver = false;
  surroundings.tell("observing every interface; Ctrl-C ends it");
  try {
    await probe.source.readNow();
    const until = over.then(() => {
      isOver = true;
    });
    await probe.read(until, async (batch) => {
      // The last reading is cut short, and would be a rate of a moment.
      if (batch.kind !== "entries" || batch.name !== "interfaces" || isOver) return;
      const rows = rates.read(decodeInterfaces(batch) ?? [], batch.atMs, readInterfaceNames());
      if (rows.length === 0) return;
      shown += 1;
      const at = new Date(batch.atMs).toISOString();
      if (format === "json") await surroundings.write(`${JSON.stringify({ at, rows })}\n`);
      else await writeTable(surroundings, [`${at.slice(11, 19)} UTC; mean and sigma of the last five minutes`, ...tableOf(rows)]);
    });
  } finally {
    clearInterval(timer);
    cancel();
  }
  const lost = rates.refused === 0 ? probe.losses : { ...probe.losses, "interfaces-refused": rates.refused };
  await sayEnd(surroundings, { format, shown, what: "readings", lost });
}

function tableOf(rows: readonly InterfaceRow[]): string[] {
  const titles = ["INTERFACE", "", "PACKETS/S", "MEAN", "SIGMA", "Z", "", "BYTES/S", "MEAN", "SIGMA", "Z", ""];
  const cells = rows.flatMap(({ name, rates }) => [
    [printable(name), "in", ...rateCells(rates.packetsReceived), ...rateCells(rates.bytesReceived)],
    ["", "out", ...rateCells(rates.packetsSent), ...rateCells(rates.bytesSent)],
  ]);
  return table([titles, ...cells]);
}

function rateCells({ perSecond, mean, sigma, z, isUnusual }: JudgedRate): string[] {
  const known = [mean, sigma].map((value) => (value === null ? "-" : countText(value)));
  return [countText(perSecond), ...known, z === null ? "-" : z.toFixed(1), isUnusual ? "!" : " "];
}
