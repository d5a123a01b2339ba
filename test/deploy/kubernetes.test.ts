import { describe, expect, it } from "vitest";
import { isLoopback } from "../../contract/loopback.ts";
import { allRoles, type Role, refuseUnshared } from "../../services/role.ts";
import { loadEmbedded, type Manifest, namesOf, readManifests, readText, variablesOf } from "./deployment.ts";

const manifests = readManifests();
const product = readManifests(["deploy/kubernetes"]);
const configurationText: string = one("ConfigMap", "headwater").data["headwater.yaml"];
const config = loadEmbedded(configurationText);
const several: readonly Role[] = ["gateway", "ingest", "detection", "api"];

function one(kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found.length !== 1) throw new Error(`${found.length} objects are called ${kind} ${name}`);
  return found[0];
}

function workload(role: string): Manifest {
  return one(role === "store" ? "StatefulSet" : "Deployment", role);
}

function container(role: string): Manifest {
  return workload(role).spec.template.spec.containers[0];
}

const workloads = manifests.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet");

describe("deploy/kubernetes", () => {
  it("has a workload for every role and no other, all in one namespace", () => {
    const names = product.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet").map(({ metadata }) => metadata.name);
    expect(names.sort()).toEqual([...allRoles].sort());
    const others = manifests.filter(({ kind, metadata }) => kind !== "Namespace" && metadata.namespace !== "headwater");
    // The agent's own: agent.test.ts looks at it.
    expect(new Set(others.map(({ metadata }) => metadata.namespace))).toEqual(new Set(["headwater-agent"]));
    expect(manifests[0].kind).toBe("Namespace");
  });

  it.each(allRoles)("runs the role %s by the command line's own options, with its configuration and secrets", (role) => {
    const { args, envFrom, volumeMounts } = container(role);
    expect(args).toEqual(["--role", role, "--config", "/etc/headwater/headwater.yaml"]);
    expect(envFrom).toEqual([{ secretRef: { name: "headwater" } }]);
    expect(volumeMounts).toContainEqual({ name: "configuration", mountPath: "/etc/headwater", readOnly: true });
    expect(() => refuseUnshared(config, [role])).not.toThrow();
  });

  it.each(allRoles)("probes the role %s at the configured port: alive to be restarted, ready to be asked", (role) => {
    const { ports, livenessProbe, readinessProbe, startupProbe } = container(role);
    expect(ports).toContainEqual({ name: "health", containerPort: config.health.port });
    expect(livenessProbe.httpGet).toEqual({ path: "/livez", port: "health" });
    expect(startupProbe.httpGet).toEqual({ path: "/livez", port: "health" });
    expect(readinessProbe.httpGet).toEqual({ path: "/readyz", port: "health" });
  });

  it.each(workloads.map((manifest) => [manifest.metadata.name, manifest]))("%s is locked down and has limits", (_, manifest) => {
    const { spec } = manifest.spec.template;
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
    expect(spec.securityContext.runAsUser).toBeGreaterThan(0);
    expect(spec.enableServiceLinks).toBe(false);
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(30);
    for (const { image, resources, securityContext } of spec.containers) {
      expect(image).toMatch(/^[a-z0-9/.-]+:\d+\.?\d*[\w.-]*$/);
      expect(resources).toMatchObject({ requests: { cpu: expect.any(String), memory: expect.any(String) } });
      expect(resources).toMatchObject({ limits: { cpu: expect.any(String), memory: expect.any(String) } });
      expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } });
      expect(securityContext.readOnlyRootFilesystem).toBe(manifest.metadata.name !== "neo4j");
    }
  });

  it.each(workloads.map((manifest) => [manifest.metadata.name, manifest]))(
    "%s fits together: selector, labels, volumes, ports",
    (_, manifest) => {
      const { template, selector, volumeClaimTemplates } = manifest.spec;
      expect(template.metadata.labels).toMatchObject(selector.matchLabels);
      const volumes = [
        ...(template.spec.volumes ?? []).map(({ name }: Manifest) => name),
        ...(volumeClaimTemplates ?? []).map(({ metadata }: Manifest) => metadata.name),
      ];
      for (const { volumeMounts, ports, livenessProbe } of template.spec.containers) {
        expect(volumeMounts.map(({ name }: Manifest) => name).sort()).toEqual(volumes.sort());
        const asked = livenessProbe.httpGet?.port ?? livenessProbe.tcpSocket?.port;
        if (asked !== undefined) expect(ports.map(({ name }: Manifest) => name)).toContain(asked);
      }
    },
  );

  it("keeps one store, with its data on a volume at the configured directory", () => {
    expect(workload("store").spec.replicas).toBe(1);
    expect(container("store").volumeMounts).toContainEqual({ name: "data", mountPath: config.dataDirectory });
  });

  it("runs several of what can be several, and lets a drain of nodes not take the last one", () => {
    expect(
      product
        .filter(({ kind }) => kind === "PodDisruptionBudget")
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual([...several].sort());
    for (const role of allRoles) {
      if (!several.includes(role)) expect(workload(role).spec.replicas).toBe(1);
      else {
        expect(workload(role).spec.replicas).toBeGreaterThan(1);
        expect(one("PodDisruptionBudget", role).spec.selector.matchLabels).toEqual(workload(role).spec.selector.matchLabels);
      }
    }
  });

  it("has a Service for each configured address, and its port is the configured one", () => {
    const { gateway, api, store, urls } = config;
    expect(one("Service", "gateway").spec.ports[0].port).toBe(gateway.port);
    expect(one("Service", "api").spec.ports[0].port).toBe(api.port);
    for (const url of Object.values(urls)) {
      const { hostname, port } = new URL(url ?? "");
      expect(one("Service", hostname).spec.ports[0].port).toBe(Number(port));
    }
    expect(new URL(urls.telemetry ?? "").port).toBe(String(store.port));
    for (const { spec, metadata } of manifests.filter(({ kind }) => kind === "Service")) {
      const chosen = workloads.filter(({ spec: { template } }) =>
        Object.entries(spec.selector).every(([label, value]) => template.metadata.labels[label] === value),
      );
      expect(chosen.map((manifest) => manifest.metadata.name)).toEqual([metadata.name]);
      const { ports } = chosen[0].spec.template.spec.containers[0];
      expect(ports).toContainEqual({ name: spec.ports[0].targetPort, containerPort: spec.ports[0].port });
    }
  });

  it("lets nothing through but the configured ports", () => {
    const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
    expect(one("NetworkPolicy", "nothing").spec).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    const open = policies.flatMap(({ spec }) =>
      (spec.ingress ?? []).flatMap(({ ports }: Manifest) => ports.map(({ port }: Manifest) => port)),
    );
    const { gateway, api, store, health, urls } = config;
    const servers = [urls.queue, urls.graph, urls.events].map((url) => Number(new URL(url ?? "").port));
    expect([...new Set(open)].sort()).toEqual([gateway.port, api.port, store.port, health.port, ...servers].sort());
  });

  it("has a configuration that the product accepts, with tokens, since its doors are not on loopback", () => {
    for (const door of [config.gateway, config.api, config.store, config.health]) expect(isLoopback(door.host)).toBe(false);
    expect(config.tokens.map(({ roles }) => roles)).toEqual([["admin"], ["viewer"], ["ingest"], ["agent"]]);
    expect(config.store.token).not.toBeNull();
  });

  it("takes from the Secret what the configuration names, and what make-env.sh writes", () => {
    const used = variablesOf(configurationText);
    expect(Object.keys(one("Secret", "headwater").stringData).sort()).toEqual(used);
    expect(namesOf(readText("deploy/compose/.env.example"))).toEqual(used);
    expect(new Set(Object.values(one("Secret", "headwater").stringData))).toEqual(new Set([""]));
    const keys = [...JSON.stringify(workloads).matchAll(/"secretKeyRef":\{"name":"headwater","key":"(\w+)"/g)].map((match) => match[1]);
    expect(keys.length).toBe(3);
    for (const key of keys) expect(used).toContain(key);
  });
});
