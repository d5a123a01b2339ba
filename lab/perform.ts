/** What a service does for one request: look into the cache, work, ask the database, call others. */
import { SpanKind } from "@opentelemetry/api";
import type { Place } from "./address.ts";
import type { CacheClient } from "./cache-client.ts";
import { callService } from "./call.ts";
import type { Database } from "./database.ts";
import type { ServiceHooks } from "./fault/fault.ts";
import { compute, wait } from "./fault/wait.ts";
import type { Journal } from "./journal.ts";
import type { Random } from "./random.ts";
import { inSpan, type Scope } from "./span.ts";
import type { CallSpec, OperationSpec } from "./spec.ts";

/** What a service works with. */
export interface ServiceParts {
  readonly address: string;
  /** Where a callee is reached; unknown until the whole shop listens. */
  readonly wayTo: (callee: string) => Place | undefined;
  readonly random: Random;
  readonly cache: CacheClient | null;
  readonly database: Database | null;
  readonly journal: Journal | null;
  /** What is wrong with it at present; empty when it is well. */
  readonly hooks: () => ServiceHooks;
}

/** Keys that are looked up; few enough that most are there. */
const keysMax = 40;
const rebuildMs = 2;

/** Resolves when the operation succeeded; rejects with what went wrong. */
export async function perform(scope: Scope, parts: ServiceParts, operation: OperationSpec): Promise<void> {
  if (operation.cache === "read" && parts.cache !== null) await lookUp(scope, parts.cache, { parts, operation });
  await work(scope, parts, operation);
  const { journal } = parts;
  if (journal !== null) await inSpan(scope, { name: "append journal", kind: SpanKind.INTERNAL }, () => journal.append());
  if (operation.database !== "none" && parts.database !== null) {
    await parts.database.run(scope, { kind: operation.database, id: parts.random.integer(1, 10_000) });
  }
  const calls = operation.calls.filter((call) => parts.random.chance(call.probability));
  if (operation.order === "parallel") await Promise.all(calls.map((call) => makeCall(scope, parts, call)));
  else for (const call of calls) await makeCall(scope, parts, call);
}

async function lookUp(scope: Scope, cache: CacheClient, options: { parts: ServiceParts; operation: OperationSpec }): Promise<void> {
  const { random } = options.parts;
  // Squared, so that some keys are asked for more often than others.
  const key = `${options.operation.name}:${Math.floor(random.next() ** 2 * keysMax)}`;
  try {
    const found = await cache.get(scope, key);
    scope.telemetry.countCache(found === null ? "miss" : "hit");
    if (found !== null) return;
    await wait(rebuildMs);
    await cache.set(scope, key, String(random.integer(0, 1_000_000)));
  } catch (error) {
    scope.telemetry.log("WARN", "the cache does not answer, going on without it", { context: scope.context, error });
  }
}

async function work(scope: Scope, parts: ServiceParts, operation: OperationSpec): Promise<void> {
  const name = `process ${operation.route.split("/")[1] ?? ""}`;
  await inSpan(scope, { name, kind: SpanKind.INTERNAL }, async () => {
    await wait(operation.workMs * parts.random.between(0.7, 1.4));
    compute(operation.cpuMs);
    await parts.hooks().duringWork?.();
  });
}

async function makeCall(scope: Scope, parts: ServiceParts, call: CallSpec): Promise<void> {
  const [method = "GET", route = "/"] = call.operation.split(" ");
  const path = route.replace("{id}", String(parts.random.integer(1, 1_000)));
  const place = parts.wayTo(call.callee);
  if (place === undefined) throw new RangeError(`there is no way to ${call.callee}`);
  try {
    await callService(scope, call, { place, from: parts.address, method, path });
  } catch (error) {
    if (call.need === "required") throw error;
    scope.telemetry.log("WARN", `${method} ${route} failed, going on without its answer`, { context: scope.context, error });
  }
}
