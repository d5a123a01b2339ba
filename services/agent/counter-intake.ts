/** Maps of counters, as they are read: each into the table that it belongs to. */
import type { ProbeBatch } from "../../contract/port.ts";
import type { AgentMetrics } from "./agent-metrics.ts";
import type { ReadAt } from "./counter-delta.ts";
import {
  decodeBlocks,
  decodeDrops,
  decodeFlows,
  decodeInterfaces,
  decodeLosses,
  decodeSchedules,
  decodeSyscalls,
} from "./decode-counters.ts";
import { eventNumbers } from "./event-layout.generated.ts";
import type { FlowTable } from "./flow-table.ts";
import type { HostSignals } from "./host-signals.ts";
import { takenOutOf } from "./kernel-message.ts";
import { lossName } from "./loss-name.ts";
import type { MetricSums } from "./metric-sums.ts";
import type { ProcessSignals } from "./process-signals.ts";

export interface CounterIntakeOptions {
  readonly flows: FlowTable;
  readonly processes: ProcessSignals;
  readonly host: HostSignals;
  readonly metrics: AgentMetrics;
  /** Records of processes and connections were lost: what is known of them may be out of date. */
  readonly onLifecycleLoss: () => void;
}

export class CounterIntake {
  readonly #options: CounterIntakeOptions;
  #losses = new Map<number, number>();

  constructor(options: CounterIntakeOptions) {
    this.#options = options;
  }

  /** A map that nobody here knows, or of another version, is counted. */
  take(batch: ProbeBatch, sums: MetricSums): void {
    const { metrics } = this.#options;
    const goneFrom = takenOutOf(batch.name);
    const what = goneFrom === null ? ("all" as const) : ("gone" as const);
    const at = { atMs: batch.atMs, atNs: batch.atMs * 1e6 - batch.clockOffsetNs, rows: what };
    const rows = this.#read(goneFrom === null ? batch : { ...batch, name: goneFrom }, at, sums);
    if (rows === null) metrics.dropped(`map-unreadable-${batch.name}`, 1);
    else metrics.read("entries", rows);
  }

  /** How many rows the map had, or null. */
  #read(batch: ProbeBatch, at: ReadAt, sums: MetricSums): number | null {
    const { flows, processes, host } = this.#options;
    switch (batch.name) {
      case "flows":
        return taken(decodeFlows(batch), (rows) => flows.read(rows, at, sums));
      case "schedules":
        return taken(decodeSchedules(batch), (rows) => processes.schedules(rows, at, sums));
      case "blocks":
        return taken(decodeBlocks(batch), (rows) => processes.blocks(rows, at, sums));
      case "syscalls":
        return taken(decodeSyscalls(batch), (rows) => processes.syscalls(rows, at, sums));
      case "interfaces":
        return taken(decodeInterfaces(batch), (rows) => host.interfaces(rows, at, sums));
      case "drops":
        return taken(decodeDrops(batch), (rows) => host.drops(rows, at, sums));
      case "losses":
        return this.#takeLosses(batch);
      default:
        return null;
    }
  }

  #takeLosses(batch: ProbeBatch): number | null {
    const losses = decodeLosses(batch);
    if (losses === null) return null;
    for (const [where, count] of losses) {
      const grown = count - (this.#losses.get(where) ?? 0);
      if (grown <= 0) continue;
      this.#options.metrics.dropped(lossName(where), grown);
      if (where === eventNumbers.HW_LOSS_LIFECYCLE_RING) this.#options.onLifecycleLoss();
    }
    this.#losses = new Map(losses);
    return losses.size;
  }
}

function taken<Row>(rows: readonly Row[] | null, take: (rows: readonly Row[]) => void): number | null {
  if (rows !== null) take(rows);
  return rows === null ? null : rows.length;
}
