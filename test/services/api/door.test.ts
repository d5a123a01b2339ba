import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Role, type RouteName, routes } from "../../../contract/route.ts";
import { writeIncident } from "./fixture/incident.ts";
import { openShop, type Shop } from "./fixture/shop.ts";
import { sceneOf } from "./fixture/telemetry.ts";

const tokenOf = (role: Role): string => `token-for-${role}-0123456789`;
const rolesAll: Role[] = ["viewer", "responder", "admin", "ingest", "agent"];
const allowedBy: Record<string, Role[]> = {
  viewer: ["viewer", "responder", "admin"],
  responder: ["responder", "admin"],
  admin: ["admin"],
};

/** A valid address for each route; a refusal for another reason than the role would hide what is tested. */
function addressOf(name: RouteName): string {
  const path = routes[name].path.replace(":incident", "inc-a").replace(":id", "no-letter");
  const ranged = ["graphDiff", "series", "spans", "lines"].includes(name);
  return ranged ? `${path}?fromMs=0&toMs=1` : path;
}

describe("with tokens", () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await openShop({ tokens: rolesAll.map((role) => ({ token: tokenOf(role), roles: [role] })) });
    await writeIncident(shop, sceneOf(), { id: "inc-a", number: 1, verdicts: 1 });
  });
  afterAll(() => shop.close());

  const ask = (path: string, method: string, token: string | null): Promise<Response> =>
    fetch(`${shop.api.url()}${path}`, { method, headers: token === null ? {} : { authorization: `Bearer ${token}` } });

  test("each route takes exactly the roles that include its row's role", async () => {
    for (const name of Object.keys(routes) as RouteName[]) {
      const { method, role } = routes[name];
      for (const asking of rolesAll) {
        const response = await ask(addressOf(name), method, tokenOf(asking));
        const allowed = allowedBy[role]?.includes(asking) === true;
        // There is no dead letter, which is said to those who may know.
        if (allowed) expect([200, 409, ...(name.endsWith("DeadLetter") ? [404] : [])], `${asking} ${name}`).toContain(response.status);
        else expect(response.status, `${asking} ${name}`).toBe(403);
      }
    }
  });

  test("without a token, or with a wrong one, nothing is told", async () => {
    const beside = ["/metrics", "/api/v1/events", "/api/v1/incidents/inc-a/report.json"];
    const inTable = (Object.keys(routes) as RouteName[]).map((name) => ({ path: addressOf(name), method: routes[name].method }));
    for (const { path, method } of [...inTable, ...beside.map((path) => ({ path, method: "GET" }))]) {
      for (const token of [null, "not-a-token-at-all", `${tokenOf("admin")}x`]) {
        const response = await ask(path, method, token);
        expect(response.status, path).toBe(401);
        expect(response.headers.get("www-authenticate")).toContain("Bearer");
        expect(((await response.json()) as { code: string }).code).toBe("UNAUTHENTICATED");
      }
    }
  });

  test("livez and readyz need none, so that a supervisor can ask", async () => {
    expect((await ask("/livez", "GET", null)).status).toBe(200);
    expect((await ask("/readyz", "GET", null)).status).toBe(200);
  });
});

test("without tokens the API refuses to be reachable by other machines", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    await expect(openShop({ host })).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("tokens") });
  }
});

test("a port in use is said with host, port and key", async () => {
  const shop = await openShop();
  try {
    const port = Number(new URL(shop.api.url()).port);
    await expect(openShop({ port })).rejects.toMatchObject({ code: "PORT_IN_USE", message: expect.stringContaining(`127.0.0.1:${port}`) });
  } finally {
    await shop.close();
  }
});

describe("bound to loopback without tokens", () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await openShop();
    await writeIncident(shop, sceneOf(), { id: "inc-a", number: 1, verdicts: 0 });
  });
  afterAll(() => shop.close());

  function raw(path: string, options: { method?: string; headers: Record<string, string> }): Promise<number> {
    const { port } = new URL(shop.api.url());
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        { host: "127.0.0.1", port, path, method: options.method ?? "GET", headers: options.headers },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      request.on("error", reject);
      request.end();
    });
  }

  test("a name that was re-bound to this machine is refused", async () => {
    const { port } = new URL(shop.api.url());
    for (const host of ["localhost", `localhost:${port}`, `127.0.0.1:${port}`, "[::1]:99", "LOCALHOST"]) {
      expect(await raw("/api/v1/overview", { headers: { host } }), host).toBe(200);
    }
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "localhost.evil.example"]) {
      expect(await raw("/api/v1/overview", { headers: { host } }), host).toBe(400);
    }
  });

  test("another site cannot write through the user's browser", async () => {
    const path = "/api/v1/incidents/inc-a/acknowledge";
    const { host } = new URL(shop.api.url());
    for (const origin of ["https://evil.example", "null", "http://127.0.0.1:1"]) {
      expect(await raw(path, { method: "POST", headers: { host, origin } }), origin).toBe(400);
    }
    expect(await shop.events.read("incident/inc-a")).toHaveLength(2);
    expect(await raw(path, { method: "POST", headers: { host, origin: `http://${host}` } })).toBe(200);
  });

  test("every answer carries the headers that keep browsers strict", async () => {
    for (const path of ["/api/v1/overview", "/nothing", "/livez"]) {
      const { headers } = await fetch(`${shop.api.url()}${path}`);
      expect(headers.get("content-security-policy")).toContain("default-src 'self'");
      expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(headers.get("content-security-policy")).not.toContain("unsafe");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-powered-by")).toBeNull();
    }
  });
});

test("readyz says which store is away, and a failing store is a 503, not a stack trace", async () => {
  const shop = await openShop();
  try {
    await shop.events.close();
    const ready = await fetch(`${shop.api.url()}/readyz`);
    expect(ready.status).toBe(503);
    expect(((await ready.json()) as { reasons: string[] }).reasons).toEqual([expect.stringContaining("event store")]);
    const incident = await fetch(`${shop.api.url()}/api/v1/incidents/x`);
    expect(incident.status).toBe(503);
    expect((await fetch(`${shop.api.url()}/livez`)).status).toBe(200);
  } finally {
    await shop.close();
  }
});
