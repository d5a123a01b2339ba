/**
 * The incident stage (design §5): reads the anomaly log of all partitions, decides in ticks of event time, writes incidents to the
 * event store, asks for verdicts and records them, records changes and declared alerts.
 */
import { Outages } from "../../contract/outage.ts";
import { PartitionGroup } from "../../contract/partition-group.ts";
import { partitionStage, type Stage } from "../stage.ts";
import { createIncidentCounters } from "./counters.ts";
import { type IncidentOptions, IncidentRun } from "./incident-run.ts";
import { timingOf } from "./timing.ts";

/**
 * Creates the stage. One process works on the whole anomaly log and takes changes, alerts and verdicts from their queues; others stand by.
 * What it decides depends on event time and content only: on ticks that every partition has closed, and on the graph as of then.
 */
export function createIncident(options: IncidentOptions): Stage {
  const { platform, log, window, timeScale } = options;
  const { clock, logger, metrics } = platform;
  const counters = createIncidentCounters(metrics);
  const timing = timingOf({ windowMs: window.windowMs, timeScale });
  const outages = new Outages({ name: "incident", clock, logger, onFailed: ({ code }) => counters.failures.inc({ code }) });
  const group = new PartitionGroup({
    ...{ log, topic: "anomaly", sharing: "all", clock, outages },
    begin: (owners, lost) => IncidentRun.begin(options, { owners, lost, timing, counters, outages }),
    onOwned: (partitions) => counters.partitions.set(partitions.length),
  });
  return partitionStage("incident", { topic: "anomaly", group, outages });
}
