/** How much of an entry service's requests gets where: what decides whether breaking something can hurt anybody. */
import type { EdgeSpec, OperationSpec, ServiceSpec, ShopSpec } from "./spec.ts";

/** A fault must be felt by at least this share of the requests of one entry service. */
export const reachMin = 0.75;

interface Place {
  readonly service: ServiceSpec;
  readonly operation: OperationSpec;
  /** Lower bound of the probability that a request of the entry gets here. */
  readonly probability: number;
}

/**
 * Where the requests of one entry operation lead: for each operation the most probable single path of required calls
 * (a lower bound, since other paths only add to it).
 */
function placesFrom(shop: ShopSpec, service: ServiceSpec, operation: OperationSpec): Place[] {
  const best = new Map<string, Place>();
  const visit = (place: Place): void => {
    const key = `${place.service.name} ${place.operation.name}`;
    if ((best.get(key)?.probability ?? 0) >= place.probability) return;
    best.set(key, place);
    for (const call of place.operation.calls) {
      if (call.need === "optional") continue;
      const callee = shop.services.find((other) => other.name === call.callee);
      const called = callee?.operations.find((other) => other.name === call.operation);
      if (callee === undefined || called === undefined) continue;
      visit({ service: callee, operation: called, probability: place.probability * call.probability });
    }
  };
  visit({ service, operation, probability: 1 });
  return [...best.values()];
}

/** For one entry: the probability with which a request meets the condition, by `probabilityAt` of each place it gets to. */
function shareOf(shop: ShopSpec, entry: string, probabilityAt: (place: Place) => number): number {
  const service = shop.services.find((other) => other.name === entry);
  if (service === undefined) return 0;
  const weights = service.operations.reduce((sum, operation) => sum + operation.weight, 0);
  return service.operations.reduce((sum, operation) => {
    const hits = placesFrom(shop, service, operation).map(probabilityAt);
    return sum + (operation.weight / weights) * Math.max(0, ...hits);
  }, 0);
}

/** The entry service that feels something most, and the share of its requests that do (a lower bound). */
export interface Reach {
  readonly entry: string;
  readonly share: number;
}

function bestOf(shop: ShopSpec, probabilityAt: (place: Place) => number): Reach {
  const reaches = shop.entries.map((entry) => ({ entry: entry.service, share: shareOf(shop, entry.service, probabilityAt) }));
  return reaches.reduce((best, reach) => (reach.share > best.share ? reach : best));
}

/** How many of an entry's requests get to a service. */
export function reachOfService(shop: ShopSpec, service: string): Reach {
  return bestOf(shop, (place) => (place.service.name === service ? place.probability : 0));
}

/** How many of an entry's requests need a service's database. */
export function reachOfDatabase(shop: ShopSpec, service: string): Reach {
  return bestOf(shop, (place) => (place.service.name === service && place.operation.database !== "none" ? place.probability : 0));
}

/** How many of an entry's requests go along an edge that they need. */
export function reachOfEdge(shop: ShopSpec, edge: EdgeSpec): Reach {
  return bestOf(shop, (place) => {
    if (place.service.name !== edge.caller) return 0;
    const calls = place.operation.calls.filter((call) => call.callee === edge.callee && call.need === "required");
    return place.probability * Math.max(0, ...calls.map((call) => call.probability));
  });
}

/** Requests per second that all services together serve, retries not counted: what the shop costs. */
export function requestsPerSecondOf(shop: ShopSpec): number {
  const visits = (service: string, operation: string): number => {
    const calls = shop.services.find((other) => other.name === service)?.operations.find((other) => other.name === operation)?.calls ?? [];
    return 1 + calls.reduce((sum, call) => sum + call.probability * visits(call.callee, call.operation), 0);
  };
  return shop.entries.reduce((total, entry) => {
    const operations = shop.services.find((service) => service.name === entry.service)?.operations ?? [];
    const weights = operations.reduce((sum, operation) => sum + operation.weight, 0);
    const perRequest = operations.reduce((sum, operation) => sum + (operation.weight / weights) * visits(entry.service, operation.name), 0);
    return total + entry.requestsPerSecond * perRequest;
  }, 0);
}

/** How long a request of an entry takes when all is well, roughly: work, datastores and calls along the longest way. Milliseconds. */
export function nominalMs(shop: ShopSpec, entry: string): number {
  const hopMs = 3;
  const duration = (service: string, operation: string): number => {
    const found = shop.services.find((other) => other.name === service)?.operations.find((other) => other.name === operation);
    if (found === undefined) return 0;
    const callMs = found.calls.map((call) => duration(call.callee, call.operation) + hopMs);
    const belowMs = found.order === "parallel" ? Math.max(0, ...callMs) : callMs.reduce((sum, ms) => sum + ms, 0);
    return found.workMs + (found.database === "none" ? 0 : 2) + (found.cache === "none" ? 0 : 2) + belowMs;
  };
  const operations = shop.services.find((service) => service.name === entry)?.operations ?? [];
  return Math.max(0, ...operations.map((operation) => duration(entry, operation.name)));
}
