/** What belongs to the host and to no service: its interfaces, and packets that the kernel dropped, by reason. */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { hostMetric } from "../../contract/kernel-telemetry.ts";
import { CounterDeltas, type ReadAt } from "./counter-delta.ts";
import type { DropCounter, InterfaceCounter } from "./decode-counters.ts";
import type { MetricOwner, MetricSums } from "./metric-sums.ts";
import { readText } from "./process-files.ts";

type InterfaceCounts = { readonly [N in "packetsReceived" | "bytesReceived" | "packetsSent" | "bytesSent"]: number };

/** Interfaces of the agent's own network namespace, by index. */
export interface InterfaceNames {
  /** Inode of the namespace; 0 where it cannot be read. */
  readonly netns: number;
  readonly names: ReadonlyMap<number, string>;
}

const interfacesMax = 1_024;

/** Reads them from `/sys/class/net` and `/proc/self/ns/net`, or from folders of that form. */
export function readInterfaceNames(paths = { net: "/sys/class/net", namespace: "/proc/self/ns/net" }): InterfaceNames {
  const names = new Map<number, string>();
  try {
    for (const name of readdirSync(paths.net).slice(0, interfacesMax)) {
      const index = Number(readText(join(paths.net, name, "ifindex")));
      if (Number.isInteger(index) && index > 0) names.set(index, name);
    }
    return { netns: Number(/\[(\d+)\]/.exec(readlinkSync(paths.namespace))?.[1] ?? 0), names };
  } catch {
    return { netns: 0, names };
  }
}

export interface HostSignalsOptions {
  readonly owner: MetricOwner;
  /** Names of the reasons of `kfree_skb` in this kernel. */
  readonly dropReasons: ReadonlyMap<number, string>;
  readonly interfaceNames: () => InterfaceNames;
}

export class HostSignals {
  readonly #options: HostSignalsOptions;
  readonly #interfaces = new CounterDeltas<InterfaceCounts>();
  readonly #drops = new CounterDeltas<{ readonly count: number }>();
  #names: InterfaceNames;

  constructor(options: HostSignalsOptions) {
    this.#options = options;
    this.#names = options.interfaceNames();
  }

  interfaces(rows: readonly InterfaceCounter[], at: ReadAt, sums: MetricSums): void {
    const { owner } = this.#options;
    const key = (row: InterfaceCounter) => `${row.netns} ${row.interface}`;
    const counters = ({ packetsReceived, bytesReceived, packetsSent, bytesSent }: InterfaceCounter): InterfaceCounts => {
      return { packetsReceived, bytesReceived, packetsSent, bytesSent };
    };
    this.#interfaces.read(rows, { ...at, key, counters }, (row, delta) => {
      const name = this.#nameOf(row);
      const received = { owner, attributes: { "network.interface.name": name, "network.io.direction": "receive" } };
      const sent = { owner, attributes: { "network.interface.name": name, "network.io.direction": "transmit" } };
      sums.add({ ...received, name: hostMetric.packets, unit: "1" }, delta.counters.packetsReceived);
      sums.add({ ...sent, name: hostMetric.packets, unit: "1" }, delta.counters.packetsSent);
      sums.add({ ...received, name: hostMetric.io, unit: "By" }, delta.counters.bytesReceived);
      sums.add({ ...sent, name: hostMetric.io, unit: "By" }, delta.counters.bytesSent);
    });
  }

  drops(rows: readonly DropCounter[], at: ReadAt, sums: MetricSums): void {
    const { owner, dropReasons } = this.#options;
    const key = (row: DropCounter) => `${row.netns} ${row.reason}`;
    this.#drops.read(rows, { ...at, key, counters: ({ count }) => ({ count }) }, (row, delta) => {
      const reason = dropReasons.get(row.reason) ?? `reason-${row.reason}`;
      sums.add({ owner, name: hostMetric.dropped, unit: "1", attributes: { reason } }, delta.counters.count);
    });
  }

  /** Those of other namespaces are told apart by their numbers: two containers have an `eth0` each. */
  #nameOf({ netns, interface: index }: InterfaceCounter): string {
    if (netns !== this.#names.netns) return `netns-${netns}:${index}`;
    if (!this.#names.names.has(index)) this.#names = this.#options.interfaceNames();
    return this.#names.names.get(index) ?? `interface-${index}`;
  }
}
