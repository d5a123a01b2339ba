/** What should be in a snapshot and is not, what that costs, and the one command that would bring it. */
import { addressWords } from "../../contract/address-words.ts";
import type { Entity } from "../../contract/entity.ts";
import type { BlindSpot, SnapshotOperation, SnapshotSeries } from "../../contract/evidence.ts";
import type { StoredSeries } from "../../contract/port.ts";
import type { SelectedGraph } from "./select-graph.ts";

/** Names listed in one blind spot; the rest is a number. */
const namedMax = 5;

export interface BlindSpotInput {
  readonly graph: SelectedGraph;
  readonly stored: readonly StoredSeries[];
  readonly series: readonly SnapshotSeries[];
  readonly operations: readonly SnapshotOperation[];
  /** Bounds that cut the evidence, and sources that were not complete, in words. */
  readonly cut: readonly string[];
  /** Ids of changes on something that nobody has seen. */
  readonly changesOfNobody: readonly string[];
}

export function blindSpots(input: BlindSpotInput): BlindSpot[] {
  const { graph, operations, series } = input;
  const { otlpUrl, apiUrl } = addressWords;
  const withSpans = new Set(operations.filter(({ side }) => side !== "internal").map(({ entity }) => entity));
  const withOwnSpans = new Set(operations.filter(({ source }) => source === undefined).map(({ entity }) => entity));
  const withSeries = new Set(series.map(({ entity }) => entity));
  const services = graph.entities.filter(({ type }) => type === "service");
  // A series' state is that of now, which depends on how far the store has come; the band of its last sample is that of the time asked for.
  const learning = input.stored.filter(({ samples }) => samples.at(-1)?.lower === null).length;
  const otlp = `OTEL_EXPORTER_OTLP_ENDPOINT=${otlpUrl}`;
  return [
    ...spotOf(ids(services.filter(({ id }) => !withSpans.has(id))), (names) => ({
      what: `no spans from ${names}`,
      cost: "errors and slowness there are seen only from its callers",
      command: `${otlp} OTEL_TRACES_EXPORTER=otlp <start it again>`,
    })),
    ...spotOf(ids(services.filter(({ id }) => withSpans.has(id) && !withOwnSpans.has(id))), (names) => ({
      what: `no spans from ${names}, only what the kernel sees`,
      cost: "which call belongs to which request is not known there, so where failures and time began is found by counting",
      command: `${otlp} OTEL_TRACES_EXPORTER=otlp <start it again>`,
    })),
    ...spotOf(ids(services.filter(({ id }) => !withSeries.has(id))), (names) => ({
      what: `no metrics from ${names}`,
      cost: "processor, memory and pools there are not seen",
      command: `${otlp} OTEL_METRICS_EXPORTER=otlp <start it again>`,
    })),
    ...spotOf(ids(graph.entities.filter(({ type }) => type === "external")), (names) => ({
      what: `unknown peer ${names}`,
      cost: "what happens behind it is not seen; it can only be blamed as a whole",
      command: `${otlp} <start what listens there>`,
    })),
    ...(learning === 0
      ? []
      : [
          {
            what: `${learning} of ${input.stored.length} series still learning what is normal`,
            cost: "their bands are wide or missing",
            command: `curl -s ${apiUrl}/api/v1/overview`,
          },
        ]),
    ...(graph.left === 0
      ? []
      : [
          {
            what: `${graph.left} entities farther away were left out`,
            cost: "a cause among them is not found",
            command: "headwater report",
          },
        ]),
    ...spotOf(input.changesOfNobody, (names) => ({
      what: `change ${names} names something that nobody has seen`,
      cost: "it cannot be weighed as a cause",
      command: `curl -s ${apiUrl}/api/v1/services`,
    })),
    ...input.cut.map((what) => ({ what, cost: "evidence beyond it is missing", command: `curl -s ${apiUrl}/metrics` })),
  ];
}

function ids(entities: readonly Entity[]): string[] {
  return entities.map(({ id }) => id);
}

function spotOf(names: readonly string[], make: (names: string) => BlindSpot): BlindSpot[] {
  if (names.length === 0) return [];
  const more = names.length > namedMax ? ` and ${names.length - namedMax} more` : "";
  return [make(names.slice(0, namedMax).join(", ") + more)];
}
