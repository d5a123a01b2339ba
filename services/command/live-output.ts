/** What the live commands have in common: where their lines go, when they end, and what was lost. */
import { kernelUnavailable } from "../agent/kernel-source.ts";
import { installedPlaces, type LivePlaces, type LiveProbe, type OpenedLiveProbe } from "../agent/live-probe.ts";
import { exitCode, type OutputFormat } from "./output.ts";
import { untilSignal } from "./process-life.ts";

/** The world of a live command. */
export interface LiveSurroundings {
  /** Results; resolves when there is room for more. */
  readonly write: (text: string) => Promise<void>;
  /** Everything that is no result, a line at a time. */
  readonly tell: (text: string) => void;
  /** Resolves when the command is to end: a signal, or nobody reads any more. */
  readonly until: Promise<void>;
  /** A terminal is drawn over, anything else gets one table after the other. */
  readonly screen: "terminal" | "file";
  readonly places: LivePlaces;
}

/** Standard output, standard error, and signals. */
export function processSurroundings(): LiveSurroundings {
  const { stdout, stderr } = process;
  const unread = new Promise<void>((resolve) => {
    stdout.on("error", () => resolve());
  });
  const write = (text: string): Promise<void> => {
    if (text === "" || !stdout.writable || stdout.write(text)) return Promise.resolve();
    return Promise.race([unread, new Promise<void>((resolve) => stdout.once("drain", () => resolve()))]);
  };
  return {
    write,
    tell: (text) => stderr.write(`${text}\n`),
    until: Promise.race([untilSignal(), unread]),
    screen: stdout.isTTY === true ? "terminal" : "file",
    places: installedPlaces,
  };
}

/** Resolves after so many seconds, or when the surroundings say so; `cancel` lets go of the timer. */
export function untilOver(surroundings: LiveSurroundings, seconds: number | null): { over: Promise<void>; cancel: () => void } {
  if (seconds === null) return { over: surroundings.until, cancel: () => undefined };
  let timer: NodeJS.Timeout | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, seconds * 1_000);
  });
  return { over: Promise.race([surroundings.until, elapsed]), cancel: () => clearTimeout(timer) };
}

/**
 * Lets the command work on an opened probe and closes it, whatever happens. Throws `KERNEL_UNAVAILABLE` where this kernel or this process
 * cannot: exit code 3, and one line.
 */
export async function withProbe(
  opened: OpenedLiveProbe,
  surroundings: LiveSurroundings,
  work: (probe: LiveProbe) => Promise<void>,
): Promise<number> {
  if (!opened.ok) throw kernelUnavailable(opened.reason);
  try {
    if (opened.probe.lacks !== null) surroundings.tell(`less is seen than could be: ${opened.probe.lacks}`);
    await work(opened.probe);
    return exitCode.ok;
  } finally {
    await opened.probe.close();
  }
}

/** The last words: how much was shown, and what was lost on the way. */
export async function sayEnd(
  surroundings: LiveSurroundings,
  end: { readonly format: OutputFormat; readonly shown: number; readonly what: string; readonly lost: Readonly<Record<string, number>> },
): Promise<void> {
  const { format, shown, what, lost } = end;
  if (format === "json") {
    await surroundings.write(`${JSON.stringify({ ended: true, shown, lost })}\n`);
    return;
  }
  const losses = Object.entries(lost).map(([where, count]) => `${count} ${where}`);
  surroundings.tell(`${shown} ${what}; ${losses.length === 0 ? "nothing was lost" : `lost: ${losses.join(", ")}`}`);
}

const clearScreen = "\u001b[H\u001b[2J";

/** One table after the other, or in place of the one before. */
export async function writeTable(surroundings: LiveSurroundings, lines: readonly string[]): Promise<void> {
  const text = `${lines.join("\n")}\n`;
  await surroundings.write(surroundings.screen === "terminal" ? `${clearScreen}${text}` : `${text}\n`);
}
