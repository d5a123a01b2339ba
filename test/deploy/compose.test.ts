import { describe, expect, it } from "vitest";
import { isLoopback } from "../../contract/loopback.ts";
import { allRoles, portsOf, type Role, refuseUnshared } from "../../services/role.ts";
import { type ComposeService, loadEmbedded, namesOf, readCompose, readText, variablesOf } from "./deployment.ts";

const compose = readCompose();
const configurationText = readText("deploy/compose/headwater.yaml");
const config = loadEmbedded(configurationText);
const servers = ["redis", "neo4j", "postgres"];

function service(name: string): ComposeService {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

function serversOf(role: Role): string[] {
  const ports = portsOf([role]);
  const needed = ["redis"];
  if (ports.has("graph")) needed.push("neo4j");
  if (ports.has("events")) needed.push("postgres");
  if (ports.has("telemetry") && role !== "store") needed.push("store");
  return needed.sort();
}

describe("docker-compose.yml", () => {
  it("has every role and the three servers, and nothing else", () => {
    expect(Object.keys(compose.services).sort()).toEqual([...allRoles, ...servers].sort());
  });

  it.each(allRoles)("runs the role %s by the command line's own options, from the one image", (role) => {
    expect(service(role).command).toEqual(["--role", role, "--config", "/etc/headwater/headwater.yaml"]);
    expect(service(role).image).toBe(service("api").image);
    expect(service(role).volumes).toContain("./deploy/compose/headwater.yaml:/etc/headwater/headwater.yaml:ro");
    expect(() => refuseUnshared(config, [role])).not.toThrow();
  });

  it.each(allRoles)("waits with the role %s for the servers behind its ports, and for no other", (role) => {
    expect(Object.keys(service(role).depends_on ?? {}).sort()).toEqual(serversOf(role));
    for (const { condition } of Object.values(service(role).depends_on ?? {})) expect(condition).toBe("service_healthy");
  });

  it.each(allRoles)("asks the role %s for its health at the configured port and a path that it has", (role) => {
    const probe = service(role).healthcheck?.test.join(" ") ?? "";
    expect(probe).toContain(`http://127.0.0.1:${config.health.port}/readyz`);
    expect(readText("services/health.ts")).toContain('"/readyz"');
  });

  it("gives telemetry a volume in the store alone, at the configured data directory", () => {
    expect(service("store").volumes).toContain(`telemetry:${config.dataDirectory}`);
    const withData = allRoles.filter((role) => service(role).volumes?.some((volume) => volume.startsWith("telemetry:")));
    expect(withData).toEqual(["store"]);
  });

  it("publishes gateway and API alone, on loopback, at the configured ports", () => {
    const published = Object.entries(compose.services).flatMap(([name, { ports }]) => (ports ?? []).map((port) => `${name} ${port}`));
    expect(published.sort()).toEqual([
      `api 127.0.0.1:${config.api.port}:${config.api.port}`,
      `gateway 127.0.0.1:${config.gateway.port}:${config.gateway.port}`,
    ]);
  });

  it.each([...allRoles, ...servers])("runs %s locked down: not as root, without capabilities, with limits", (name) => {
    const it = service(name);
    expect(it.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(it.cap_drop).toEqual(["ALL"]);
    expect(it.security_opt).toContain("no-new-privileges:true");
    expect(it.restart).toBe("unless-stopped");
    expect(it.init).toBe(true);
    expect(it.stop_grace_period).toMatch(/^[3-6]0s$/);
    expect(it.cpus).toBeGreaterThan(0);
    expect(it.mem_limit).toMatch(/^\d+[mg]$/);
    expect(it.pids_limit).toBeGreaterThan(0);
    expect(it.healthcheck?.test.length).toBeGreaterThan(1);
    // Neo4j's image writes its configuration into its root filesystem at start.
    if (name !== "neo4j") expect(it.read_only).toBe(true);
  });

  it("uses images with a version", () => {
    for (const { image } of Object.values(compose.services)) expect(image).toMatch(/^[a-z0-9/.-]+:\d+\.?\d*[\w.-]*$/);
  });

  it("keeps servers on a network without a way out, and declares every volume and network it uses", () => {
    for (const name of servers) expect(service(name).networks).toEqual(["back"]);
    expect(compose.networks.back?.internal).toBe(true);
    for (const { networks } of Object.values(compose.services))
      for (const network of networks ?? []) expect(compose.networks).toHaveProperty(network);
    const named = Object.values(compose.services).flatMap(({ volumes }) => (volumes ?? []).filter((volume) => !volume.startsWith(".")));
    expect(named.map((volume) => volume.split(":")[0]).sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it("starts a Redis that Headwater accepts and that keeps what is acknowledged", () => {
    const command = service("redis").command?.join(" ") ?? "";
    expect(command).toContain("--maxmemory-policy noeviction");
    expect(command).toContain("--appendonly yes --appendfsync everysec");
    expect(command).not.toContain("--requirepass");
  });

  it("gives Neo4j's container no variable but settings that begin with NEO4J_", () => {
    expect(Object.keys(service("neo4j").environment ?? {}).filter((name) => !/^NEO4J_(AUTH|[a-z].*)$/.test(name))).toEqual([]);
  });
});

describe("deploy/compose/headwater.yaml", () => {
  it("is accepted by the product, with tokens, since its doors are not on loopback", () => {
    for (const door of [config.gateway, config.api, config.store, config.health]) expect(isLoopback(door.host)).toBe(false);
    expect(config.tokens.map(({ roles }) => roles)).toEqual([["admin"], ["viewer"], ["ingest"], ["agent"]]);
    expect(config.store.token).not.toBeNull();
  });

  it("reaches servers and store by the names and ports of the services", () => {
    const { queue, graph, events, telemetry } = config.urls;
    const places = [queue, graph, events, telemetry].map((url) => new URL(url ?? "").host);
    expect(places).toEqual(["redis:6379", "neo4j:7687", "postgres:5432", `store:${config.store.port}`]);
    expect(new URL(events ?? "").pathname).toBe(`/${service("postgres").environment?.POSTGRES_DB}`);
    expect(new URL(events ?? "").username).toBe(service("postgres").environment?.POSTGRES_USER);
  });

  it("names the variables that every role is given, and .env.example lists them", () => {
    const used = variablesOf(configurationText);
    expect(namesOf(readText("deploy/compose/.env.example"))).toEqual(used);
    for (const role of allRoles) expect(Object.keys(service(role).environment ?? {}).sort()).toEqual(used);
    expect(variablesOf(readText("docker-compose.yml")).filter((name) => !used.includes(name))).toEqual([]);
  });
});
