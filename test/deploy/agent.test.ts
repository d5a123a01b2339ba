import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { capabilitiesMissing, doctorObjects } from "../../services/agent/doctor.ts";
import { agentNodeOptions } from "../../services/command/agent-child.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import {
  deploymentFiles,
  directive,
  loadEmbedded,
  type Manifest,
  namesOf,
  readManifests,
  readText,
  root,
  variablesOf,
} from "./deployment.ts";

const folder = useTemporaryFolder();
const unit = readText("deploy/systemd/headwater-agent.service");
const manifests = readManifests(["deploy/kubernetes"]);
const script = readText("deploy/compose/start-agent.sh");
/** What loads the programs, and what reads names out of environments. */
const loading = ["BPF", "PERFMON"];
const naming = ["SYS_PTRACE", "DAC_READ_SEARCH"];

function one(kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  expect(found.length).toBe(1);
  return found[0];
}

/** Sections of the programs in `bpf/`: what is attached to what. */
function sections(): string[] {
  return doctorObjects.flatMap((name) =>
    [...readText(`bpf/${name}.bpf.c`).matchAll(/^SEC\("([\w/]+)"\)/gm)].map((match) => match[1] ?? ""),
  );
}

it("every program of the agent is loaded with the two capabilities that are given everywhere, and none with one of them", () => {
  const names = loading.map((name) => `CAP_${name}`);
  expect(sections().length).toBeGreaterThan(20);
  expect(sections().filter((section) => capabilitiesMissing(section, names).length > 0)).toEqual([]);
  for (const name of names) expect(capabilitiesMissing("tp_btf/sys_enter", [name]).length).toBe(1);
});

describe("deploy/systemd/headwater-agent.service", () => {
  it("has the two capabilities that load programs, is not root, and writes nowhere", () => {
    const names = loading.map((name) => `CAP_${name}`).join(" ");
    expect(directive(unit, "CapabilityBoundingSet")).toBe(names);
    expect(directive(unit, "AmbientCapabilities")).toBe(names);
    expect(directive(unit, "DynamicUser")).toBe("yes");
    expect(directive(unit, "NoNewPrivileges")).toBe("yes");
    expect(directive(unit, "ProtectSystem")).toBe("strict");
    expect(directive(unit, "StateDirectory")).toBeUndefined();
    expect(unit).toMatch(new RegExp(`^# ${naming.map((name) => `CAP_${name}`).join(" ")}$`, "m"));
  });

  it("sees processes and control groups of others, and may load programs", () => {
    expect(directive(unit, "ProtectProc")).toBe("default");
    for (const name of ["PrivateUsers", "PrivateNetwork", "ProcSubset"]) expect(directive(unit, name)).toBeUndefined();
    expect([...unit.matchAll(/^SystemCallFilter=(.*)$/gm)].map((match) => match[1])).toEqual(["@system-service", "~@privileged", "bpf"]);
  });

  it("starts the command by its own options, for ever, within walls of memory and processor time", () => {
    expect(directive(unit, "ExecStart")).toBe(
      "/usr/bin/node --max-semi-space-size=2 --heap-growing-percent=40 /opt/headwater/dist/services/main.js agent --config /etc/headwater/agent.yaml",
    );
    expect(directive(unit, "Restart")).toBe("always");
    const { cpuBudget, memoryMaxMb } = loadEmbedded(readText("deploy/systemd/agent.yaml.example")).agent;
    expect(Number.parseInt(directive(unit, "CPUQuota") ?? "", 10) / 100).toBeGreaterThan(2 * cpuBudget);
    expect(Number.parseInt(directive(unit, "MemoryMax") ?? "", 10)).toBeGreaterThan(2 * memoryMaxMb);
  });
});

describe("deploy/kubernetes/40-agent.yaml", () => {
  const { spec } = one("DaemonSet", "agent").spec.template;
  const [container] = spec.containers;

  it("has exactly the capabilities that are named, and no other privilege", () => {
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"], add: [...loading, ...naming] },
    });
    expect(spec.securityContext.seccompProfile).toEqual({ type: "RuntimeDefault" });
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(container.resources).toMatchObject({ limits: { cpu: expect.any(String), memory: expect.any(String) } });
  });

  it("sees the processes, types and control groups of its node, and can write none of them", () => {
    expect(spec).toMatchObject({ hostPID: true, hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" });
    const hosts = spec.volumes.flatMap(({ hostPath }: Manifest) => (hostPath === undefined ? [] : [hostPath.path]));
    expect(hosts).toEqual(["/sys/kernel/btf", "/sys/fs/cgroup"]);
    expect(container.volumeMounts.map(({ name }: Manifest) => name)).toEqual(spec.volumes.map(({ name }: Manifest) => name));
    expect(container.volumeMounts.filter(({ readOnly }: Manifest) => readOnly !== true)).toEqual([]);
  });

  it("runs the command on every node, in a namespace that admits it, with a token that its platform knows", () => {
    expect(container.command).toEqual(["node", ...agentNodeOptions, "/opt/headwater/dist/services/main.js", "agent"]);
    expect(container.args).toEqual(["--config", "/etc/headwater/agent.yaml"]);
    expect(spec.tolerations).toEqual([{ operator: "Exists" }]);
    expect(one("Namespace", "headwater-agent").metadata.labels).toEqual({ "pod-security.kubernetes.io/enforce": "privileged" });
    const text: string = one("ConfigMap", "headwater-agent").data["agent.yaml"];
    const gateway = one("Service", "gateway");
    expect(loadEmbedded(text).agent.gateway).toBe(`http://gateway.${gateway.metadata.namespace}:${gateway.spec.ports[0].port}`);
    expect(variablesOf(text)).toEqual(["HEADWATER_AGENT_TOKEN"]);
    expect(container.envFrom).toEqual([{ secretRef: { name: "headwater-agent" } }]);
  });
});

describe("deploy/compose/start-agent.sh", () => {
  /** Runs the script with a `docker` that writes down how it was called. */
  function start(env: string): { status: number | null; stderr: string; called: string } {
    mkdirSync(join(folder.path, "bin"), { recursive: true });
    writeFileSync(join(folder.path, ".env"), env);
    writeFileSync(join(folder.path, "bin/docker"), `#!/bin/sh\nprintf '%s\\n' "$HEADWATER_AGENT_TOKEN" "$@" > "${folder.path}/called"\n`);
    chmodSync(join(folder.path, "bin/docker"), 0o755);
    const path = `${join(folder.path, "bin")}:${process.env.PATH}`;
    const result = spawnSync("sh", [join(root, "deploy/compose/start-agent.sh")], {
      cwd: folder.path,
      env: { PATH: path },
      encoding: "utf8",
    });
    const file = join(folder.path, "called");
    return { status: result.status, stderr: result.stderr, called: existsSync(file) ? readFileSync(file, "utf8") : "" };
  }

  it("gives the container the rights of the DaemonSet and no other, and the token by its environment", () => {
    const { status, called } = start("HEADWATER_INGEST_TOKEN=other\nHEADWATER_AGENT_TOKEN=0123456789abcdef\n");
    expect(status).toBe(0);
    const [token, ...argumentsOf] = called.trimEnd().split("\n");
    expect(token).toBe("0123456789abcdef");
    expect(called.split("0123456789abcdef").length).toBe(2);
    const valuesOf = (option: string): (string | undefined)[] =>
      argumentsOf.flatMap((text, index) => (text === option ? [argumentsOf[index + 1]] : []));
    expect(valuesOf("--cap-drop")).toEqual(["ALL"]);
    expect(valuesOf("--cap-add")).toEqual([...loading, ...naming]);
    expect([valuesOf("--pid"), valuesOf("--network"), valuesOf("--cgroupns")]).toEqual([["host"], ["host"], ["host"]]);
    expect(valuesOf("--volume").filter((volume) => !volume?.endsWith(":ro"))).toEqual([]);
    for (const option of ["--read-only", "--no-healthcheck"]) expect(argumentsOf).toContain(option);
    expect(script).not.toContain("--privileged");
  });

  it("says what is missing when there is no token, and starts nothing", () => {
    const { status, stderr, called } = start("HEADWATER_INGEST_TOKEN=other\n");
    expect(status).toBe(1);
    expect(stderr).toContain("HEADWATER_AGENT_TOKEN");
    expect(called).toBe("");
  });
});

it.each(["deploy/systemd/agent.yaml.example", "deploy/compose/agent.yaml"])(
  "%s is accepted, and needs the agent's token and no other secret",
  (path) => {
    const text = readText(path);
    const { agent } = loadEmbedded(text);
    expect(agent.token).not.toBeNull();
    expect(agent.gateway).toBe("http://127.0.0.1:4318");
    expect(variablesOf(text)).toEqual(["HEADWATER_AGENT_TOKEN"]);
  },
);

it("the agent's token has the role agent in every configuration of a platform, and each list of secrets has it", () => {
  const platforms = ["deploy/compose/headwater.yaml", "deploy/systemd/headwater.yaml.example"].map(readText);
  platforms.push(manifests.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "headwater")?.data["headwater.yaml"]);
  for (const text of platforms) {
    const tokens = loadEmbedded(text, { HEADWATER_AGENT_TOKEN: "the-token-of-the-agents" }).tokens;
    expect(tokens.find(({ token }) => token === "the-token-of-the-agents")?.roles).toEqual(["agent"]);
  }
  for (const path of deploymentFiles().filter((name) => /(?:\.env\.example|agent\.env\.example|headwater\.env\.example)$/.test(name))) {
    expect(namesOf(readText(path))).toContain("HEADWATER_AGENT_TOKEN");
  }
});
