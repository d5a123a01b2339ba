import { expect, it } from "vitest";
import { reachOf } from "../../../services/incident/reach.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";

const on = (id: string, host: string | null) => ({ ...anEntity(id, { seenMs: 0 }), host });
const hostOf = (name: string) => ({ ...anEntity(`host/${name}`, { seenMs: 0 }), type: "host" as const, name, host: name });

it("what is below a service includes the hosts of what it calls, where these tell of themselves, and no others", () => {
  const entities = [
    on("web", "node-1"),
    on("cart", "node-2"),
    on("mail", "node-3"),
    on("db", "node-9"),
    hostOf("node-1"),
    hostOf("node-2"),
    hostOf("node-3"),
  ];
  const dependencies = [aDependency("web", "cart", { validFromMs: 0 }), aDependency("cart", "db", { validFromMs: 0 })];
  const reach = reachOf({ completeThroughMs: 0, entities, dependencies });
  expect([...reach.downstream(["web"])].sort()).toEqual(["cart", "db", "host/node-1", "host/node-2", "web"]);
  expect([...reach.downstream(["cart"])].sort()).toEqual(["cart", "db", "host/node-2"]);
});
