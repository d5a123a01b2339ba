/** A draw of a simulated shop with a fault, as the snapshot that the ranker would get 15 s after its onset. */
import { dependencyId } from "../../contract/entity.ts";
import type { EvidenceSnapshot, SnapshotOperation, SnapshotSeries, SpanStatistics } from "../../contract/evidence.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import { type Statistic, seriesId } from "../../contract/series.ts";
import type { TruthItem } from "../../graph/case/score.ts";
import { ShopRandom } from "./shop-random.ts";
import { drawSimShop, type FaultName, ShopSimulation, type SimFault, type SimRun, type SimShop, type SimSpan } from "./shop-simulator.ts";

export interface ShopDraw {
  readonly snapshot: EvidenceSnapshot;
  readonly truth: TruthItem[];
}

/** Draws shop, victim, magnitude, decoys and times from a seed. */
export function drawShopCase(fault: FaultName, seed: number): ShopDraw {
  const random = new ShopRandom(seed * 31 + fault.length * 7_919 + fault.charCodeAt(0));
  for (;;) {
    const draw = attempt(fault, random);
    if (draw !== null) return draw;
  }
}

function attempt(name: FaultName, random: ShopRandom): ShopDraw | null {
  const shop = drawSimShop(random, 9);
  const onsetMs = random.integer(24, 32) * 1_000 + random.integer(0, 999);
  const fault = drawFault(random, shop, { name, atMs: onsetMs });
  if (fault === null) return null;
  const askedMs = onsetMs + random.integer(10, 16) * 1_000;
  const run = new ShopSimulation(random, shop, fault).play(askedMs + 1_000);
  const burned = burning(shop, run, { onsetMs, askedMs });
  if (burned.length === 0) return null;
  const windowMs = 1_000;
  const detectedMs = Math.floor(onsetMs / windowMs) * windowMs + windowMs * random.integer(0, 2);
  const times = {
    normal: { fromMs: 0, toMs: detectedMs - 2 * windowMs },
    fault: { fromMs: detectedMs, toMs: Math.floor(askedMs / windowMs) * windowMs },
  };
  const changes = drawChanges(random, shop, fault);
  const truth: TruthItem[] = [{ type: "entity", id: fault.service, kind: null }];
  if (name === "slow-dependency") truth.push({ type: "dependency", id: dependencyId(fault.caller ?? "", fault.service), kind: null });
  if (name === "exception-deploy" || name === "bad-flag") truth.push({ type: "change", id: "change-real", kind: null });
  return { snapshot: snapshotOf(random, shop, { run, fault, times, changes, burned }), truth };
}

/** The largest share of an entry's requests that is sure to need a service. */
function reachOf(shop: SimShop, service: string): number {
  const share = (from: string, operationName: string | null): number => {
    if (from === service) return 1;
    const operations = shop.services.find((other) => other.name === from)?.operations ?? [];
    const chosen = operations.filter((operation) => operationName === null || operation.name === operationName);
    const total = chosen.reduce((sum, operation) => sum + operation.weight, 0);
    return chosen.reduce((sum, operation) => {
      const calls = operation.calls.filter((call) => call.required);
      return sum + (operation.weight / total) * Math.max(0, ...calls.map((call) => call.probability * share(call.callee, call.operation)));
    }, 0);
  };
  return Math.max(...shop.entries.map((entry) => share(entry.service, null)));
}

function drawFault(random: ShopRandom, shop: SimShop, options: { name: FaultName; atMs: number }): SimFault | null {
  const inner = shop.services.filter((service) => service.layer > 0);
  const candidates = options.name === "pool-leak" ? inner.filter((service) => service.poolMax !== null) : inner;
  if (candidates.length === 0) return null;
  const service = random.pick(candidates);
  if (reachOf(shop, service.name) < 0.6) return null;
  const callers = shop.services.filter((other) =>
    other.operations.some((operation) => operation.calls.some((call) => call.callee === service.name && call.required)),
  );
  if (callers.length === 0) return null;
  const variant = random.chance(0.5) ? "errors" : "slowness";
  const slow =
    options.name === "slow-code" || options.name === "slow-dependency" || (options.name === "bad-flag" && variant === "slowness");
  return {
    name: options.name,
    service: service.name,
    caller: options.name === "slow-dependency" ? random.pick(callers).name : null,
    magnitude: slow ? random.between(120, 1_300) : random.between(0.5, 1),
    variant,
    atMs: options.atMs,
  };
}

function burning(shop: SimShop, run: SimRun, times: { onsetMs: number; askedMs: number }): string[] {
  return shop.entries
    .map((entry) => entry.service)
    .filter((entry) => {
      const spans = run.spans.filter((span) => span.entity === entry && span.side === "server");
      const before = spans
        .filter((span) => span.endMs < times.onsetMs)
        .map((span) => span.durationMs)
        .sort((left, right) => left - right);
      const limit = 2 * (before[Math.floor(before.length * 0.95)] ?? 0);
      const after = spans.filter((span) => span.endMs >= times.onsetMs + 1_000 && span.endMs < times.askedMs);
      const bad = after.filter((span) => span.failed || span.durationMs > limit).length;
      return after.length > 20 && bad / after.length >= 0.3;
    });
}

function drawChanges(random: ShopRandom, shop: SimShop, fault: SimFault): EvidenceSnapshot["changes"] {
  const decoys = Array.from({ length: random.integer(1, 3) }, (_, index) => ({
    id: `change-${index}`,
    atMs: Math.round(fault.atMs - (random.chance(0.5) ? random.between(500, 8_000) : random.between(8_000, 45_000))),
    entity: random.pick(shop.services.filter((service) => service.name !== fault.service)).name,
    kind: random.pick(["deploy", "flag", "config"] as const),
    summary: "a harmless change",
    actor: null,
    undo: null,
  }));
  if (fault.name !== "exception-deploy" && fault.name !== "bad-flag") return decoys;
  const kind = fault.name === "bad-flag" ? "flag" : "deploy";
  const real = {
    id: "change-real",
    atMs: Math.round(fault.atMs - random.between(100, 2_000)),
    entity: fault.service,
    kind,
    summary: "the change that broke it",
  } as const;
  return [...decoys, { ...real, actor: null, undo: null }];
}

interface Gathered {
  readonly run: SimRun;
  readonly fault: SimFault;
  readonly times: { normal: { fromMs: number; toMs: number }; fault: { fromMs: number; toMs: number } };
  readonly changes: EvidenceSnapshot["changes"];
  readonly burned: readonly string[];
}

function snapshotOf(random: ShopRandom, shop: SimShop, gathered: Gathered): EvidenceSnapshot {
  const { run, times } = gathered;
  // What a dead process had not sent yet is lost with it.
  const seen = run.spans.filter((span) => span.endMs < times.fault.toMs);
  const pairs = new Map<string, { source: string; target: string }>();
  for (const span of run.spans)
    if (span.callee !== null) pairs.set(dependencyId(span.entity, span.callee), { source: span.entity, target: span.callee });
  const services = shop.services.map((service) => ({
    id: service.name,
    type: "service" as const,
    alias: null,
    host: service.host,
    zone: null,
    entry: shop.entries.some((entry) => entry.service === service.name),
  }));
  const stores = [shop.database, shop.cache].map((id) => ({
    id,
    type: "datastore" as const,
    alias: null,
    host: null,
    zone: null,
    entry: false,
  }));
  const served = grouped(
    seen.filter((span) => span.side === "server"),
    (span) => span.entity,
  );
  const count = (entity: string, interval: { fromMs: number; toMs: number }): number =>
    (served.get(entity) ?? []).filter((span) => span.endMs >= interval.fromMs && span.endMs < interval.toMs).length;
  return {
    schemaVersion: 1,
    windowMs: 1_000,
    normal: times.normal,
    fault: times.fault,
    symptoms: gathered.burned.map((entity) => ({ entity, metric: "availability", atMs: times.fault.fromMs })),
    entities: [...services, ...stores],
    dependencies: [...pairs].map(([id, pair]) => ({ id, ...pair, protocol: "http", validFromMs: 0, validToMs: null, confidence: 1 })),
    series: [...durationSeries(seen, times.fault.toMs), ...gauges(random, shop, gathered), ...lineSeries(gathered)],
    operations: operationsOf(seen, times),
    templates: templatesOf(gathered),
    invocations: shop.services.map((service) => ({
      entity: service.name,
      normal: count(service.name, times.normal),
      abnormal: count(service.name, times.fault),
    })),
    events: [],
    changes: gathered.changes,
    blindSpots: [],
  };
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;

function statistics(spans: readonly SimSpan[]): SpanStatistics {
  const durations = spans.map((span) => Math.round(span.durationMs * 1e6)).sort((left, right) => left - right);
  const own = spans.map((span) => Math.round(span.selfMs * 1e6)).sort((left, right) => left - right);
  return {
    count: spans.length,
    failed: spans.filter((span) => span.failed).length,
    failedAtOrigin: spans.filter((span) => span.failed && span.origin).length,
    p50Ns: quantile(durations, 0.5),
    p95Ns: quantile(durations, 0.95),
    selfP50Ns: quantile(own, 0.5),
    selfP95Ns: quantile(own, 0.95),
  };
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const list = groups.get(key(item));
    if (list === undefined) groups.set(key(item), [item]);
    else list.push(item);
  }
  return groups;
}

function operationsOf(spans: readonly SimSpan[], times: Gathered["times"]): SnapshotOperation[] {
  const groups = grouped(spans, (span) => `${span.entity}|${span.side}|${span.operation}|${span.callee ?? ""}`);
  return [...groups].map(([id, all]) => {
    const first = all[0] as SimSpan;
    const within = (interval: { fromMs: number; toMs: number }): SimSpan[] =>
      all.filter((span) => span.endMs >= interval.fromMs && span.endMs < interval.toMs);
    const abnormal = within(times.fault);
    return {
      id: `operation:${id}`,
      entity: first.entity,
      operation: first.operation,
      side: first.side,
      callee: first.callee,
      normal: statistics(within(times.normal)),
      abnormal: statistics(abnormal),
      examples: [],
      exception: abnormal.find((span) => span.origin)?.exception ?? null,
    };
  });
}

function series(
  key: { entity: string; metric: string; statistic: Statistic; attributes: string },
  points: Map<number, number>,
): SnapshotSeries {
  const nature = metricKind(key.metric, key.statistic);
  const atMs = [...points.keys()].sort((left, right) => left - right);
  return {
    id: `series:${seriesId(key)}`,
    ...key,
    kind: nature.kind,
    scope: nature.scope,
    unit: nature.unit,
    atMs,
    values: atMs.map((at) => points.get(at) ?? 0),
  };
}

function durationSeries(spans: readonly SimSpan[], toMs: number): SnapshotSeries[] {
  const tagged = spans.flatMap((span) => {
    const metric = `span.${span.side}.duration`;
    const attributes = span.side === "client" ? `peer=${span.callee ?? ""}` : `operation=${span.operation}`;
    const whole = span.side === "server" ? [{ span, metric, attributes: "" }] : [];
    return [{ span, metric, attributes }, ...whole];
  });
  return [...grouped(tagged, (item) => `${item.span.entity}|${item.metric}|${item.attributes}`).values()].flatMap((items) => {
    const first = items[0];
    if (first === undefined) return [];
    const windows = new Map<number, typeof items>();
    for (const item of items) {
      const at = Math.floor(item.span.endMs / 1_000) * 1_000;
      const list = windows.get(at);
      if (list === undefined) windows.set(at, [item]);
      else list.push(item);
    }
    const points = {
      rate: new Map<number, number>(),
      error_ratio: new Map<number, number>(),
      p50: new Map<number, number>(),
      p95: new Map<number, number>(),
    };
    for (const [at, list] of windows) {
      if (at >= toMs) continue;
      const durations = list.map((item) => item.span.durationMs / 1_000).sort((left, right) => left - right);
      points.rate.set(at, list.length);
      points.error_ratio.set(at, list.filter((item) => item.span.failed).length / list.length);
      points.p50.set(at, quantile(durations, 0.5));
      points.p95.set(at, quantile(durations, 0.95));
    }
    return (["rate", "error_ratio", "p50", "p95"] as const).map((statistic) =>
      series({ entity: first.span.entity, metric: first.metric, statistic, attributes: first.attributes }, points[statistic]),
    );
  });
}

function gauges(random: ShopRandom, shop: SimShop, gathered: Gathered): SnapshotSeries[] {
  const { run, fault, times } = gathered;
  const served = grouped(
    run.spans.filter((span) => span.side === "server"),
    (span) => span.entity,
  );
  return shop.services.flatMap((service) => {
    const dead = (at: number): boolean => fault.name === "crash" && fault.service === service.name && at >= fault.atMs;
    const load = grouped(served.get(service.name) ?? [], (span) => String(Math.floor(span.endMs / 1_000) * 1_000));
    const cpu = new Map<number, number>();
    const memory = new Map<number, number>();
    const delay = new Map<number, number>();
    const used = new Map<number, number>();
    const pending = new Map<number, number>();
    const pool = run.pools.get(service.name);
    for (let at = 0; at < times.fault.toMs; at += 1_000) {
      if (dead(at)) continue;
      cpu.set(
        at,
        0.01 + 0.002 * (load.get(String(at))?.length ?? 0) * random.between(0.7, 1.3) + (random.chance(0.05) ? random.between(0, 0.1) : 0),
      );
      memory.set(at, 80e6 + random.between(0, 3e6) + at * 10);
      delay.set(at, random.between(0.0005, 0.004) + (random.chance(0.04) ? random.between(0, 0.03) : 0));
      if (pool === undefined) continue;
      const leaking = fault.name === "pool-leak" && fault.service === service.name && at >= fault.atMs;
      used.set(at, leaking ? pool.kept : random.chance(0.1) ? 1 : 0);
      pending.set(at, pool.waits.filter((wait) => wait.fromMs < at && wait.toMs >= at).length);
    }
    const gauge = (metric: string, points: Map<number, number>, attributes = ""): SnapshotSeries[] =>
      points.size === 0 ? [] : [series({ entity: service.name, metric, statistic: "value", attributes }, points)];
    return [
      ...gauge("process.cpu.utilization", cpu),
      ...gauge("process.memory.usage", memory),
      ...gauge("nodejs.eventloop.delay.p99", delay),
      ...gauge("db.client.connection.count", used, "state=used"),
      ...gauge("db.client.connection.pending_requests", pending),
    ];
  });
}

function lineSeries(gathered: Gathered): SnapshotSeries[] {
  const groups = grouped(
    gathered.run.lines.filter((line) => line.atMs < gathered.times.fault.toMs),
    (line) => `${line.entity}|${line.severity}`,
  );
  return [...groups.values()].map((lines) => {
    const points = new Map<number, number>();
    for (const line of lines) {
      const at = Math.floor(line.atMs / 1_000) * 1_000;
      points.set(at, (points.get(at) ?? 0) + 1);
    }
    const first = lines[0];
    return series(
      { entity: first?.entity ?? "", metric: "log.records", statistic: "rate", attributes: `severity=${first?.severity ?? ""}` },
      points,
    );
  });
}

function templatesOf(gathered: Gathered): EvidenceSnapshot["templates"] {
  const { times } = gathered;
  return [...grouped(gathered.run.lines, (line) => `${line.entity}|${line.severity}|${line.text}`)].map(([id, lines]) => {
    const first = lines[0];
    const within = (interval: { fromMs: number; toMs: number }): number =>
      lines.filter((line) => line.atMs >= interval.fromMs && line.atMs < interval.toMs).length;
    return {
      id: `template:${id}`,
      entity: first?.entity ?? "",
      text: first?.text ?? "",
      severity: first?.severity ?? "INFO",
      normalCount: within(times.normal),
      abnormalCount: within(times.fault),
      firstSeenMs: Math.round(Math.min(...lines.map((line) => line.atMs))),
    };
  });
}
