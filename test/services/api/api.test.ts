import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { contentHash } from "../../../contract/canonical.ts";
import { IncidentEvent } from "../../../contract/incident.ts";
import { Problem, type RouteName, routes } from "../../../contract/route.ts";
import { snapshotOf, writeChanges, writeIncident } from "./fixture/incident.ts";
import { openShop, otlpUrl, type Shop, windowMs } from "./fixture/shop.ts";
import { poolShape, type Scene, sceneOf, windowCount, writeGraph, writeTelemetry } from "./fixture/telemetry.ts";

let shop: Shop;
let scene: Scene;

beforeAll(async () => {
  shop = await openShop();
  scene = sceneOf();
  await writeGraph(shop, scene);
  await writeTelemetry(shop, scene);
  await writeChanges(shop, scene);
  await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 0 });
  await writeIncident(shop, scene, { id: "inc-b", number: 2, verdicts: 2 });
  await shop.api.settle();
});

afterAll(() => shop.close());

const at = (path: string): string => `${shop.api.url()}${path}`;

async function get<R extends RouteName>(route: R, path: string) {
  const response = await fetch(at(path));
  expect(response.status, path).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  return routes[route].response.parse(await response.json()) as ReturnType<(typeof routes)[R]["response"]["parse"]>;
}

async function problem(response: Response, code: string): Promise<Problem> {
  expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/);
  const body = Problem.parse(await response.json());
  expect(body).toMatchObject({ code, status: response.status, type: `urn:headwater:error:${code}` });
  expect(JSON.stringify(body)).not.toMatch(/node_modules|\.ts:\d|at .*\(/);
  return body;
}

describe("the table's rows answer what their schemas say", () => {
  test("overview tells what arrives, what is learning, what is not linked and what is open", async () => {
    const overview = await get("overview", "/api/v1/overview");
    expect(overview.newestWindowMs).toBe(scene.startMs + (windowCount - 1) * windowMs);
    expect(overview).toMatchObject({ windowMs, otlpUrl, seriesCount: 9, learningCount: 1, readyAtMs: scene.endMs + 600_000 });
    expect(overview.openIncidents.map((incident) => incident.id)).toEqual(["inc-b", "inc-a"]);
    expect(overview.openIncidents[0]?.sentence).toBe("payment waits for database connections");
    expect(overview.unlinked).toHaveLength(1);
    expect(overview.unlinked[0]).toMatchObject({ entity: "night-batch" });
    expect(overview.unlinked[0]?.command).toContain(otlpUrl);
  });

  test("services count requests of the newest window and know their neighbours", async () => {
    const { items } = await get("services", "/api/v1/services");
    expect(items.map((service) => service.entity.id)).toEqual(["catalog", "checkout", "night-batch", "payment", "storefront"]);
    const checkout = items[1];
    expect(checkout).toMatchObject({ requestsPerSecond: 12, errorRatio: 0.125, callerCount: 1, calleeCount: 2, openIncident: "inc-b" });
    expect(checkout?.p95Seconds).toBeGreaterThan(1);
    expect(items[2]).toMatchObject({ requestsPerSecond: null, errorRatio: null, p95Seconds: null, learningCount: 1, openIncident: null });
  });

  test("an incident, its events, its verdicts and its evidence are those in the store", async () => {
    const incident = await get("incident", "/api/v1/incidents/inc-b");
    expect(incident).toMatchObject({ id: "inc-b", number: 2, status: "open", sequence: 4 });
    const events = await get("incidentEvents", "/api/v1/incidents/inc-b/events");
    expect(events.items.map((event) => event.type)).toEqual(["opened", "anomalies-joined", "verdict-added", "verdict-added"]);
    const verdicts = await get("verdicts", "/api/v1/incidents/inc-b/verdicts");
    expect(verdicts.items.map((verdict) => verdict.version)).toEqual([1, 2]);
    const evidence = await get("incidentEvidence", "/api/v1/incidents/inc-b/evidence");
    expect(contentHash(evidence)).toBe(contentHash(snapshotOf(scene)));
  });

  test("the graph is as of the moment asked for", async () => {
    const now = await get("graph", "/api/v1/graph");
    expect(now.dependencies.map((dependency) => dependency.id)).toContain("checkout>payment");
    expect(now.completeThroughMs).toBe(scene.endMs);
    const before = await get("graph", `/api/v1/graph?atMs=${scene.startMs - 1}`);
    expect(before.dependencies).toEqual([]);
    const diff = await get("graphDiff", `/api/v1/graph/diff?fromMs=${scene.startMs - 1}&toMs=${scene.endMs}`);
    expect(diff.dependenciesAdded).toHaveLength(4);
  });

  test("series come with their bands, spans and lines by entity and trace", async () => {
    const range = `fromMs=${scene.startMs}&toMs=${scene.endMs}`;
    const { items } = await get("series", `/api/v1/series?${range}&entity=payment`);
    expect(items).toHaveLength(4);
    expect(items[0]?.samples[0]?.upper).toBeGreaterThan(0);
    const one = await get("series", `/api/v1/series?${range}&entity=payment&metric=process.cpu.utilization`);
    expect(one.items).toHaveLength(1);
    const failed = await get("spans", `/api/v1/spans?${range}&entity=payment&failed=yes`);
    expect(failed.items.length).toBe(20);
    expect(failed.items.every((span) => span.failed && span.entity === "payment")).toBe(true);
    const trace = await get("spans", `/api/v1/spans?${range}&traceId=${failed.items[0]?.traceId}`);
    expect(trace.items.map((span) => span.entity).sort()).toEqual(["checkout", "payment"]);
    const lines = await get("lines", `/api/v1/lines?${range}&entity=payment&template=${poolShape}&limit=5`);
    expect(lines.items).toHaveLength(5);
  });

  test("changes are newest first and filtered by time and entity", async () => {
    expect((await get("changes", "/api/v1/changes")).items.map((change) => change.id)).toEqual(["deploy-catalog-118", "flag-banner"]);
    expect((await get("changes", "/api/v1/changes?entity=storefront")).items.map((change) => change.id)).toEqual(["flag-banner"]);
    expect((await get("changes", `/api/v1/changes?fromMs=${scene.onsetMs - 100_000}`)).items).toHaveLength(1);
    expect((await get("changes", `/api/v1/changes?toMs=${scene.onsetMs - 100_000}&limit=1`)).items).toHaveLength(1);
  });

  test("a recorded change is there at the next request, once, however often it is recorded", async () => {
    const change = { ...snapshotOf(scene).changes[0]!, id: "scale-7", atMs: scene.endMs };
    const event = { type: "change-recorded", change };
    await shop.events.append("change", [event, event, { type: "nonsense" }], { expectedSequence: 2 });
    const { items } = await get("changes", "/api/v1/changes?limit=1");
    expect(items.map((item) => item.id)).toEqual(["scale-7"]);
    expect((await get("changes", "/api/v1/changes")).items).toHaveLength(3);
  });
});

describe("paging", () => {
  test("walks services and incidents page by page without gap or repetition", async () => {
    for (const [route, path, key] of [
      ["services", "/api/v1/services", (item: { entity: { id: string } }) => item.entity.id],
      ["incidents", "/api/v1/incidents", (item: { id: string }) => item.id],
    ] as const) {
      const whole = (await get(route, path)).items.map((item) => key(item as never));
      const walked: string[] = [];
      let cursor: string | null = "";
      while (cursor !== null) {
        const page: { items: unknown[]; nextCursor: string | null } = await get(
          route,
          `${path}?limit=1${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
        );
        expect(page.items).toHaveLength(1);
        walked.push(key(page.items[0] as never));
        cursor = page.nextCursor;
      }
      expect(walked).toEqual(whole);
    }
  });

  test("a page's cursor still continues at its place after a newer incident opened", async () => {
    const first = await get("incidents", "/api/v1/incidents?limit=1");
    await writeIncident(shop, scene, { id: "inc-c", number: 3, verdicts: 0 });
    await shop.api.settle();
    const second = await get("incidents", `/api/v1/incidents?limit=1&cursor=${first.nextCursor}`);
    expect(second.items.map((item) => item.id)).toEqual(["inc-a"]);
    expect((await get("incidents", "/api/v1/incidents?status=resolved")).items).toEqual([]);
  });

  test("a cursor that this API did not give is refused", async () => {
    for (const path of ["/api/v1/incidents?cursor=zzz", "/api/v1/services?cursor=WzFd", "/api/v1/services?cursor=WyJ4Il0"]) {
      const body = await problem(await fetch(at(path)), "REQUEST_INVALID");
      expect(body.errors?.[0]?.path, path).toBe("query.cursor");
    }
  });
});

describe("refusals are problem+json", () => {
  test("every mistake in a request is named with its place", async () => {
    const response = await fetch(at("/api/v1/series?fromMs=x&limit=0"));
    expect(response.status).toBe(400);
    const body = await problem(response, "REQUEST_INVALID");
    expect(body.errors?.map((error) => error.path).sort()).toEqual(["query.fromMs", "query.limit", "query.toMs"]);
    const range = await problem(await fetch(at("/api/v1/spans?fromMs=5&toMs=4")), "REQUEST_INVALID");
    expect(range.errors).toEqual([{ path: "query.toMs", message: "must not lie before fromMs" }]);
    const longId = await problem(await fetch(at(`/api/v1/incidents/${"x".repeat(65)}`)), "REQUEST_INVALID");
    expect(longId.errors?.[0]?.path).toBe("params.incident");
  });

  test("unknown paths and incidents are 404, other methods 405 with Allow", async () => {
    for (const path of ["/nothing", "/api/v1/nothing", "/api/v1/incidents/none", "/api/v1/incidents/none/verdicts", "/index.html"]) {
      const response = await fetch(at(path));
      expect(response.status, path).toBe(404);
      await problem(response, "NOT_FOUND");
    }
    for (const name of Object.keys(routes) as RouteName[]) {
      const response = await fetch(at(routes[name].path.replace(":incident", "inc-a")), { method: "PUT" });
      expect(response.status, name).toBe(405);
      expect(response.headers.get("allow")).toContain(routes[name].method);
      await problem(response, "METHOD_NOT_ALLOWED");
    }
    expect((await fetch(at("/api/v1/events"), { method: "POST" })).status).toBe(405);
    expect((await fetch(at("/metrics"), { method: "POST" })).status).toBe(405);
  });

  test("evidence is 404 until there is a verdict", async () => {
    const body = await problem(await fetch(at("/api/v1/incidents/inc-a/evidence")), "NOT_FOUND");
    expect(body.detail).toContain("no verdict yet");
  });

  test("bodies that are no JSON, of another type, or too large are refused", async () => {
    const post = (body: string, type = "application/json"): Promise<Response> =>
      fetch(at("/api/v1/incidents/inc-a/acknowledge"), { method: "POST", headers: { "content-type": type }, body });
    await problem(await post("{"), "BODY_MALFORMED");
    await problem(await post("actor=me", "application/x-www-form-urlencoded"), "CONTENT_TYPE_UNSUPPORTED");
    const large = await post(JSON.stringify({ note: "x".repeat(70_000) }));
    expect(large.status).toBe(413);
    await problem(large, "BODY_TOO_LARGE");
    const wrong = await problem(await post(JSON.stringify({ actor: "", note: 7 })), "REQUEST_INVALID");
    expect(wrong.errors?.map((error) => error.path)).toEqual(["body.actor", "body.note"]);
    await problem(await fetch(at("/api/v1/incidents/%E0%A4%A")), "REQUEST_INVALID");
    expect(IncidentEvent.parse((await shop.events.read("incident/inc-a")).at(-1)?.data).type).toBe("anomalies-joined");
  });
});

test("answers are compressed when the client takes gzip", async () => {
  const path = `/api/v1/series?fromMs=${scene.startMs}&toMs=${scene.endMs}`;
  const zipped = await fetch(at(path), { headers: { "accept-encoding": "gzip" } });
  expect(zipped.headers.get("content-encoding")).toBe("gzip");
  const plain = await fetch(at(path), { headers: { "accept-encoding": "identity" } });
  expect(plain.headers.get("content-encoding")).toBeNull();
  expect(await zipped.json()).toEqual(await plain.json());
});

test("reports are HTML, Markdown and JSON of the same incident, the HTML without scripts", async () => {
  const report = async (format: string): Promise<Response> => fetch(at(`/api/v1/incidents/inc-b/report.${format}`));
  const html = await report("html");
  expect(html.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(html.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(await html.text()).toContain("payment waits for database connections");
  const markdown = await report("md");
  expect(markdown.headers.get("content-type")).toBe("text/markdown; charset=utf-8");
  expect(await markdown.text()).toContain("payment waits for database connections");
  expect(JSON.stringify(await (await report("json")).json())).toContain("payment");
  await problem(await fetch(at("/api/v1/incidents/none/report.html")), "NOT_FOUND");
  await problem(await report("pdf"), "NOT_FOUND");
});

test("health and metrics answer", async () => {
  expect(await (await fetch(at("/livez"))).json()).toEqual({ status: "alive" });
  expect(await (await fetch(at("/readyz"))).json()).toEqual({ status: "ready", reasons: [] });
  const text = await (await fetch(at("/metrics"))).text();
  expect(text).toMatch(/headwater_api_requests_total\{route="overview",status="200"\} \d+/);
  expect(text).toContain("process_cpu_user_seconds_total");
  expect(text).toContain('headwater_api_bound_total{reason="change-invalid-event"} 1');
});
