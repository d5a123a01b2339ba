/** An incident with everything a report can show: payment slows down and fails, checkout is hurt, a decoy deploy precedes it. */

import { EvidenceSnapshot, type SnapshotOperation, type SnapshotSeries } from "../../contract/evidence.ts";
import { type Incident, IncidentEvent } from "../../contract/incident.ts";
import { foldIncident } from "../../contract/incident-fold.ts";
import type { Statistic } from "../../contract/series.ts";
import { verdictOf } from "../../services/ranking/ranking.ts";

export const onsetMs = 1_700_000_000_000;
const windowMs = 1_000;
const normal = { fromMs: onsetMs - 120_000, toMs: onsetMs - 2_000 };
const fault = { fromMs: onsetMs, toMs: onsetMs + 30_000 };

interface Names {
  readonly checkout: string;
  readonly payment: string;
  readonly deploy: string;
}

const plain: Names = { checkout: "checkout", payment: "payment", deploy: "payment 1.4.2" };

function wave(second: number): number {
  return Math.sin(second * 1.7) * 0.5 + Math.sin(second * 0.31) * 0.5;
}

function series(
  entity: string,
  metric: string,
  about: {
    statistic: Statistic;
    unit: string;
    kind: SnapshotSeries["kind"];
    attributes?: string;
    usual: number;
    noise: number;
    broken: number;
  },
): SnapshotSeries {
  const seconds = Array.from({ length: 150 }, (_, index) => index - 120);
  const { statistic, unit, kind, attributes = "", usual, noise, broken } = about;
  return {
    id: `series:${entity}|${metric}|${statistic}|${attributes}`,
    ...{ entity, metric, statistic, attributes, kind, scope: kind === "saturation" || kind === "cpu" ? "internal" : "external", unit },
    atMs: seconds.map((second) => onsetMs + second * 1_000),
    values: seconds.map((second) => {
      const ramp = second < 0 ? 0 : Math.min(1, (second + 1) / 6);
      return Math.max(0, usual + noise * wave(second) + (broken - usual) * ramp);
    }),
  };
}

function operation(
  entity: string,
  name: string,
  about: {
    side: SnapshotOperation["side"];
    callee?: string;
    failed: number;
    atOrigin: number;
    before: number;
    during: number;
    exception?: string;
  },
): SnapshotOperation {
  const { side, callee = null, failed, atOrigin, before, during, exception = null } = about;
  const statistics = (ms: number, bad: { failed: number; atOrigin: number }, count: number) => ({
    ...{ count, failed: bad.failed, failedAtOrigin: bad.atOrigin, p50Ns: ms * 0.6e6, p95Ns: ms * 1e6 },
    ...{
      selfP50Ns: side === "server" && entity.includes("pay") ? ms * 0.5e6 : 1e6,
      selfP95Ns: side === "server" && entity.includes("pay") ? ms * 0.9e6 : 2e6,
    },
  });
  return {
    id: side === "client" ? `operation:${entity}|client||${name}` : `operation:${entity}|${side}|${name}|`,
    ...{ entity, operation: name, side, callee, exception },
    normal: statistics(before, { failed: 0, atOrigin: 0 }, 4_700),
    abnormal: statistics(during, { failed, atOrigin }, 1_200),
    examples: ["0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"],
  };
}

export function sampleSnapshot(names: Names = plain): EvidenceSnapshot {
  const { checkout, payment } = names;
  const entity = (id: string, type: "service" | "datastore", entry: boolean) => ({
    id,
    type,
    alias: null,
    host: "node-1",
    zone: null,
    entry,
  });
  const link = (source: string, target: string) => ({
    id: `${source}>${target}`,
    source,
    target,
    protocol: "http",
    validFromMs: null,
    validToMs: null,
    confidence: 1,
  });
  const database = "postgresql@10.0.0.5:5432";
  return EvidenceSnapshot.parse({
    ...{ schemaVersion: 1, windowMs, normal, fault, events: [] },
    symptoms: [{ entity: checkout, metric: "availability", atMs: onsetMs }],
    entities: [entity(checkout, "service", true), entity(payment, "service", false), entity(database, "datastore", false)],
    dependencies: [link(checkout, payment), link(payment, database)],
    series: [
      series(checkout, "span.server.duration", {
        statistic: "error_ratio",
        unit: "1",
        kind: "errors",
        usual: 0,
        noise: 0.002,
        broken: 0.34,
      }),
      series(checkout, "span.server.duration", { statistic: "p95", unit: "s", kind: "latency", usual: 0.06, noise: 0.006, broken: 0.9 }),
      series(payment, "db.client.connection.pending_requests", {
        statistic: "value",
        unit: "{request}",
        kind: "saturation",
        usual: 0.4,
        noise: 0.4,
        broken: 38,
      }),
      series(payment, "span.server.duration", {
        statistic: "p95",
        unit: "s",
        kind: "latency",
        attributes: "operation=POST /pay",
        usual: 0.02,
        noise: 0.002,
        broken: 0.84,
      }),
      series(payment, "process.cpu.utilization", { statistic: "value", unit: "1", kind: "cpu", usual: 0.21, noise: 0.03, broken: 0.2 }),
    ],
    operations: [
      operation(checkout, "POST /checkout", { side: "server", failed: 400, atOrigin: 0, before: 60, during: 900 }),
      operation(checkout, `${payment}:80`, { side: "client", callee: payment, failed: 400, atOrigin: 0, before: 25, during: 850 }),
      operation(payment, "POST /pay", {
        side: "server",
        failed: 400,
        atOrigin: 400,
        before: 20,
        during: 840,
        exception: "PoolTimeoutError: no connection within 800 ms",
      }),
    ],
    templates: [
      {
        id: `template:${payment}|a1`,
        entity: payment,
        text: "no connection within <n> ms",
        severity: "ERROR",
        normalCount: 0,
        abnormalCount: 398,
        firstSeenMs: onsetMs + 1_000,
      },
    ],
    invocations: [
      { entity: checkout, normal: 4_700, abnormal: 1_200 },
      { entity: payment, normal: 4_700, abnormal: 1_200 },
    ],
    changes: [
      {
        id: "d-17",
        atMs: onsetMs - 20_000,
        entity: checkout,
        kind: "flag",
        summary: "new-banner on for 10 %",
        actor: "ada",
        undo: "flags off new-banner",
      },
      {
        id: "d-18",
        atMs: onsetMs - 4_000,
        entity: payment,
        kind: "deploy",
        summary: names.deploy,
        actor: "ci",
        undo: "kubectl rollout undo deployment/payment",
      },
    ],
    blindSpots: [
      {
        what: `no metrics from ${database}`,
        cost: "its locks and slow queries are not seen",
        command: "OTEL_METRICS_EXPORTER=otlp <start it again>",
      },
    ],
  });
}

export function sampleIncident(snapshot: EvidenceSnapshot | null, names: Names = plain): { incident: Incident; events: IncidentEvent[] } {
  const { checkout } = names;
  const at = (second: number) => ({ atMs: onsetMs + second * 1_000, actor: null });
  const alert = {
    id: "a1",
    entity: checkout,
    objective: "availability",
    startsAtMs: onsetMs,
    endsAtMs: null,
    summary: `${checkout}: 16 % of requests failing`,
  };
  const impact = { entity: checkout, objective: "availability" as const, badRatio: 0.16, requestsPerSecond: 40 };
  const events: IncidentEvent[] = [{ type: "opened", ...at(4), number: 42, onsetMs, severity: "P2", alert, impact }];
  events.push({ type: "impact-changed", ...at(9), severity: "P1", impact: { ...impact, badRatio: 0.34 } });
  if (snapshot !== null) {
    const symptoms = [{ entity: checkout, metric: "availability", atMs: onsetMs }];
    const request = { id: "r", incident: "i42", version: 1, askedForMs: onsetMs + 30_000, reason: "onset+30s" as const, onsetMs, symptoms };
    const engines = { telemetry: "DuckDB behind the role store", queue: "BullMQ on Redis", log: "Redis Streams", graph: "Neo4j" };
    const queries = [
      { name: "entities-of", count: 1, ms: 2.5 },
      { name: "neighbours", count: 4, ms: 12.25 },
    ];
    const operational = { gatheredInMs: 40, rankedInMs: 6, answeredAtMs: onsetMs + 31_000, path: { engines, queries } };
    events.push({ type: "verdict-added", ...at(30), verdict: verdictOf(request, snapshot), operational });
  }
  events.push({ type: "acknowledged", ...at(95), actor: "grace", note: "rolling back" });
  events.push({ type: "recovered", ...at(410) }, { type: "resolved", ...at(410), by: "recovery", note: null });
  const parsed = events.map((event) => IncidentEvent.parse(event));
  const incident = foldIncident("i42", parsed);
  if (incident === null) throw new Error("the sample is no incident");
  return { incident, events: parsed };
}
