/** What the connections of each dependency did in an interval, from the counters `flows`: as the caller sees it, and as the server does. */
import { connectionMetric } from "../../contract/kernel-telemetry.ts";
import { CounterDeltas, type ReadAt } from "./counter-delta.ts";
import type { FlowCounter } from "./decode-counters.ts";
import { type IdentityBook, resourceOf } from "./identity.ts";
import type { EndAddress } from "./kernel-event.ts";
import type { MetricSums } from "./metric-sums.ts";
import type { Attributes } from "./otlp-item.ts";
import { serverAttributes } from "./request-naming.ts";
import { addressKey, plainAddress } from "./socket-address.ts";
import { noTelemetryPlaces, type TelemetryPlaces } from "./telemetry-places.ts";

/** A row of `flows` without what names it. */
type FlowCounts = {
  readonly [N in
    | "opened"
    | "failed"
    | "reset"
    | "retransmits"
    | "bytesSent"
    | "bytesReceived"
    | "roundTripUsSum"
    | "roundTripCount"]: number;
};

export class FlowTable {
  readonly #deltas = new CounterDeltas<FlowCounts>();
  readonly #identities: IdentityBook;
  readonly #telemetry: TelemetryPlaces;
  readonly #systems = new Map<string, string>();

  /** Connections to where telemetry goes are none of anybody's. */
  constructor(identities: IdentityBook, telemetry: TelemetryPlaces = noTelemetryPlaces) {
    this.#identities = identities;
    this.#telemetry = telemetry;
  }

  /** What speaks at an address: a datastore is named by its system as well, as its callers' spans name it. */
  learnSystem(server: EndAddress, system: string): void {
    if (this.#systems.size < systemsMax) this.#systems.set(addressKey(server), system);
  }

  /** `atNs` is the reading's monotonic time. */
  read(rows: readonly FlowCounter[], at: ReadAt, sums: MetricSums): void {
    this.#deltas.read(rows, { ...at, key: keyOf, counters: countsOf }, (row, { counters }) => {
      if (row.transport !== "tcp" || row.role === "unknown") return;
      const local = plainAddress(row.local);
      if (this.#telemetry.includes(row.role === "server" ? local : plainAddress(row.remote), row.netns)) return;
      const who =
        row.role === "server"
          ? this.#identities.ofServer(row.tgid, row.cgroup, local, at.atNs)
          : this.#identities.of(row.tgid, row.cgroup, at.atNs);
      if (who === null) return;
      const owner = { key: who.key, resource: resourceOf(who) };
      const plain = { owner, unit: "1", attributes: this.#calleeOf(row) };
      const { attributes } = plain;
      // A server does not know whose packets are lost on the way back; the rest is told by its callers.
      if (row.role === "server") {
        sums.add({ ...plain, name: connectionMetric.retransmits }, counters.retransmits);
        return;
      }
      sums.add({ ...plain, name: connectionMetric.opened }, counters.opened);
      sums.add({ ...plain, name: connectionMetric.failed }, counters.failed);
      sums.add({ ...plain, name: connectionMetric.reset }, counters.reset);
      sums.add({ ...plain, name: connectionMetric.retransmits }, counters.retransmits);
      const trip = { ...plain, name: connectionMetric.roundTrip, unit: "s" };
      sums.mean(trip, counters.roundTripUsSum / 1e6, counters.roundTripCount);
      const io = { owner, unit: "By", name: connectionMetric.io };
      sums.add({ ...io, attributes: { ...attributes, "network.io.direction": "transmit" } }, counters.bytesSent);
      sums.add({ ...io, attributes: { ...attributes, "network.io.direction": "receive" } }, counters.bytesReceived);
    });
  }

  #calleeOf(row: FlowCounter): Attributes {
    if (row.role !== "client") return {};
    const server = plainAddress(row.remote);
    const system = this.#systems.get(addressKey(server));
    return {
      ...serverAttributes(server),
      ...(system === undefined ? {} : { [system === "kafka" ? "messaging.system" : "db.system.name"]: system }),
    };
  }
}

const systemsMax = 10_000;

function keyOf(row: FlowCounter): string {
  return `${row.cgroup} ${row.tgid} ${row.netns} ${row.role} ${row.transport} ${addressKey(row.local)} ${addressKey(row.remote)}`;
}

function countsOf(row: FlowCounter): FlowCounts {
  const { opened, failed, reset, retransmits, bytesSent, bytesReceived, roundTripUsSum, roundTripCount } = row;
  return { opened, failed, reset, retransmits, bytesSent, bytesReceived, roundTripUsSum, roundTripCount };
}
