/**
 * What the kernel's operations add to those of spans: they count where spans say nothing, and because they nest in nothing, where their
 * failures began is found by counting.
 */
import type { SnapshotOperation, SpanStatistics } from "../../contract/evidence.ts";

type IntervalName = "normal" | "abnormal";
const intervals: readonly IntervalName[] = ["normal", "abnormal"];

/** Operations of spans, and those of the kernel about requests or calls of which no span tells; each with its failures at origin. */
export function withKernelOperations(operations: readonly SnapshotOperation[]): SnapshotOperation[] {
  const isTold = ({ source, normal, abnormal }: SnapshotOperation): boolean => source === undefined && normal.count + abnormal.count > 0;
  const told = new Set(operations.filter(isTold).flatMap(subjectsOf));
  const kept = operations.filter(
    (operation) => operation.source === undefined || !subjectsOf(operation).some((subject) => told.has(subject)),
  );
  if (kept.every(({ source }) => source === undefined)) return kept;
  const failures = { normal: failuresOf(kept, "normal"), abnormal: failuresOf(kept, "abnormal") };
  return kept.map((operation) => {
    if (operation.source === undefined) return operation;
    const [normal, abnormal] = intervals.map((interval) => withOrigin(operation, interval, failures[interval]));
    return { ...operation, normal: normal ?? operation.normal, abnormal: abnormal ?? operation.abnormal };
  });
}

/** All that an entity serves is one subject; of its calls each address, and each callee whatever it is called. */
function subjectsOf({ entity, side, operation, callee }: SnapshotOperation): string[] {
  if (side !== "client") return [JSON.stringify([entity, side])];
  return [JSON.stringify([entity, "at", operation]), ...(callee === null ? [] : [JSON.stringify([entity, "to", callee])])];
}

interface Failures {
  /** Failed requests that an entity served; of entities that are seen to serve any. */
  readonly served: ReadonlyMap<string, number>;
  /** Failed calls that an entity made. */
  readonly made: ReadonlyMap<string, number>;
  /** Failed calls that arrive at an entity. */
  readonly arriving: ReadonlyMap<string, number>;
}

function failuresOf(operations: readonly SnapshotOperation[], interval: IntervalName): Failures {
  const served = new Map<string, number>();
  const made = new Map<string, number>();
  const arriving = new Map<string, number>();
  const add = (sums: Map<string, number>, id: string, failed: number): Map<string, number> => sums.set(id, (sums.get(id) ?? 0) + failed);
  for (const { side, entity, callee, [interval]: statistics } of operations) {
    if (side === "server" && statistics.count > 0) add(served, entity, statistics.failed);
    if (side !== "client") continue;
    add(made, entity, statistics.failed);
    if (callee !== null) add(arriving, callee, statistics.failed);
  }
  return { served, made, arriving };
}

/**
 * A request failed here as far as the failed calls of its server leave it unexplained; a call failed on its way as far as the failed
 * answers of the callee do. Each operation gets its share, rounded down: chance must not make an origin.
 */
function withOrigin(operation: SnapshotOperation, interval: IntervalName, failures: Failures): SpanStatistics {
  const statistics = operation[interval];
  const { all, explained } = operation.side === "client" ? callFailures(operation, failures) : requestFailures(operation, failures);
  const share = all === 0 ? 0 : Math.max(0, all - explained) / all;
  return { ...statistics, failedAtOrigin: Math.min(statistics.failed, Math.floor(statistics.failed * share)) };
}

function requestFailures({ entity }: SnapshotOperation, failures: Failures): { all: number; explained: number } {
  return { all: failures.served.get(entity) ?? 0, explained: failures.made.get(entity) ?? 0 };
}

function callFailures({ callee, ...operation }: SnapshotOperation, failures: Failures): { all: number; explained: number } {
  if (callee === null) return { all: operation.normal.failed + operation.abnormal.failed, explained: 0 };
  return { all: failures.arriving.get(callee) ?? 0, explained: failures.served.get(callee) ?? 0 };
}
