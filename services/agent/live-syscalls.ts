/** System calls for people: one line each, or how often each was made. */
import { CounterDeltas } from "./counter-delta.ts";
import type { SyscallCounter } from "./decode-counters.ts";
import { errorName } from "./errno.ts";
import { eventNumbers } from "./event-layout.generated.ts";
import type { SyscallDetail } from "./kernel-event.ts";
import { durationText, printable, resultText, wallTime } from "./live-text.ts";
import { syscallName } from "./syscall-names.ts";

/** One call. */
export interface SyscallLine {
  /** When it began; when it ended where the beginning was not seen. */
  readonly at: string;
  readonly pid: number;
  readonly tid: number;
  readonly command: string;
  readonly syscall: string;
  readonly result: number;
  /** `ENOENT`; null where it did not fail. */
  readonly error: string | null;
  /** Null where its beginning was not seen. */
  readonly durationNs: number | null;
  /** Path, or arguments; empty for calls without text. */
  readonly text: string;
  /** Id of the group in cgroup v2. */
  readonly cgroup: string;
}

export function syscallLine(event: SyscallDetail, clockOffsetNs: number): SyscallLine {
  const isWhole = (event.flags & eventNumbers.HW_FLAG_EXISTING) === 0;
  return {
    at: wallTime(event.atNs - event.durationNs, clockOffsetNs),
    pid: event.tgid,
    tid: event.tid,
    command: event.command,
    syscall: syscallName(event.number),
    result: event.result,
    error: errorName(event.result),
    durationNs: isWhole ? event.durationNs : null,
    text: event.text,
    cgroup: String(event.cgroup),
  };
}

/** Titles above `syscallText`. */
export const syscallTitles = columns(["PID", "COMMAND", "SYSCALL", "TIMESTAMP", "RESULT", "DURATION", "PATH OR ARGUMENTS"]);

export function syscallText(line: SyscallLine): string {
  const { pid, command, syscall, at, result, durationNs, text } = line;
  const duration = durationNs === null ? "-" : durationText(durationNs);
  return columns([String(pid), printable(command), syscall, at.slice(11, -1), resultText(result), duration, printable(text)]);
}

function columns([pid = "", command = "", syscall = "", at = "", result = "", duration = "", text = ""]: readonly string[]): string {
  return [pid.padStart(7), command.padEnd(15), syscall.padEnd(17), at.padEnd(15), result.padEnd(14), duration.padStart(8), text]
    .join(" ")
    .trimEnd();
}

/** A call of a process within one reading. */
export interface SyscallFrequency {
  readonly pid: number;
  readonly command: string;
  readonly syscall: string;
  readonly callsPerSecond: number;
  readonly errorsPerSecond: number;
  /** From buckets of powers of two, within a factor of two; null where no duration was seen. */
  readonly p50Ns: number | null;
  readonly p95Ns: number | null;
}

interface Counts {
  readonly [name: string]: number | Float64Array;
  readonly count: number;
  readonly errors: number;
  readonly buckets: Float64Array;
}

/** What was counted from reading to reading. */
export class SyscallFrequencies {
  readonly #deltas = new CounterDeltas<Counts>();

  /** Rows that were made since the last reading, the most frequent first. The first reading has none. */
  read(rows: readonly SyscallCounter[], atMs: number, commandOf: (pid: number) => string): SyscallFrequency[] {
    const found: SyscallFrequency[] = [];
    const key = (row: SyscallCounter) => `${row.tgid} ${row.number}`;
    const counters = ({ count, errors, buckets }: SyscallCounter): Counts => ({ count, errors, buckets });
    this.#deltas.read(rows, { atMs, key, counters }, (row, delta) => {
      const { count, errors, buckets } = delta.counters;
      if (count === 0) return;
      const seconds = delta.elapsedMs / 1e3;
      // Calls that do not return are counted as if they had taken nothing.
      const timed = buckets.map((calls, bucket) => (bucket === 0 ? 0 : calls));
      found.push({
        pid: row.tgid,
        command: commandOf(row.tgid),
        syscall: syscallName(row.number),
        callsPerSecond: count / seconds,
        errorsPerSecond: errors / seconds,
        p50Ns: bucketQuantile(timed, 0.5),
        p95Ns: bucketQuantile(timed, 0.95),
      });
    });
    return found.sort((left, right) => right.callsPerSecond - left.callsPerSecond || left.pid - right.pid);
  }
}

/** A quantile of values of which only the power of two is known, straight within its bucket; null without values. */
export function bucketQuantile(buckets: Float64Array, quantile: number): number | null {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  let below = 0;
  for (const [bucket, count] of buckets.entries()) {
    if (count > 0 && below + count >= quantile * total) return 2 ** bucket * (1 + (quantile * total - below) / count);
    below += count;
  }
  return 2 ** buckets.length;
}
