import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cgroupOwner, isBelow, parseCgroups } from "../../../services/agent/cgroup-path.ts";
import { parseEnvironment, resourceAttributes, workloadOf } from "../../../services/agent/environment.ts";
import { IdentityBook, resourceOf } from "../../../services/agent/identity.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { makeProc } from "./agent-world.ts";
import { address, processEvent } from "./kernel-events-by-hand.ts";

const folder = useTemporaryFolder();
const container = "a".repeat(64);
const podUid = "3f1c2d4e-0000-4000-8000-123456789abc";

function book(changed: Partial<ConstructorParameters<typeof IdentityBook>[0]> = {}): { identities: IdentityBook; counted: string[] } {
  const counted: string[] = [];
  const identities = new IdentityBook({
    files: new ProcessFiles(folder.path),
    host: "host-1",
    cgroups: [],
    selfTgid: 1,
    processesMax: 100,
    readsPerSecondMax: 100,
    onCounted: (what) => counted.push(what),
    ...changed,
  });
  return { identities, counted };
}

describe("paths of control groups", () => {
  it("say whose they are, on hosts with either hierarchy", () => {
    const owner = (text: string, parents: string[] = []) => cgroupOwner(parseCgroups(text), parents);
    const slice = podUid.replaceAll("-", "_");
    expect(
      owner(`0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${slice}.slice/cri-containerd-${container}.scope\n`),
    ).toEqual({
      kind: "pod",
      podUid,
      containerId: container,
    });
    expect(owner(`4:memory:/kubepods/besteffort/pod${podUid}/${container}\n0::/\n`)).toMatchObject({ kind: "pod", podUid });
    expect(owner(`0::/../../pod${podUid}/${container}\n`)).toMatchObject({ kind: "pod", podUid, containerId: container });
    expect(owner(`0::/../podium${podUid}\n`)).toBeNull();
    expect(owner(`4:cpu,cpuacct:/docker/${container}\n0::/\n`)).toEqual({ kind: "container", containerId: container });
    expect(owner(`0::/system.slice/docker-${container}.scope\n`)).toEqual({ kind: "container", containerId: container });
    expect(owner("0::/system.slice/nginx.service\n")).toEqual({ kind: "unit", name: "nginx" });
    expect(owner("0::/user.slice/user-0.slice/user@0.service/session.slice\n")).toBeNull();
    expect(owner("0::/shop/cart/worker\n", ["/shop"])).toEqual({ kind: "cgroup", name: "cart", path: "/shop/cart/worker" });
    expect(owner("0::/shopping/cart\n", ["/shop/"])).toBeNull();
    expect(owner("rubbish\n\n0:x")).toBeNull();
  });

  it("are below a parent by whole parts", () => {
    expect([isBelow("/shop/cart", ["/shop"]), isBelow("/shop2", ["/shop"]), isBelow("/x", [])]).toEqual([true, false, true]);
  });
});

describe("an environment", () => {
  it("keeps the few variables that are asked for, also when the last one is cut off", () => {
    const found = parseEnvironment(Buffer.from("PASSWORD=secret\0OTEL_SERVICE_NAME=cart=1\0EMPTY\0HOSTNAME=ab"));
    expect([...found]).toEqual([
      ["OTEL_SERVICE_NAME", "cart=1"],
      ["HOSTNAME", "ab"],
    ]);
  });

  it("is read as OpenTelemetry has it, broken parts passed over", () => {
    const found = resourceAttributes("service.version=1%2E4,=x,noequals,service.namespace = shop ,bad=%E0%A4%A");
    expect([...found]).toEqual([
      ["service.version", "1.4"],
      ["service.namespace", "shop"],
      ["bad", "%E0%A4%A"],
    ]);
  });

  it("names workloads by the names of their pods", () => {
    expect(["checkout-7d9f8b6c5d-x2x4k", "agent-x2x4k", "db-0", "plain"].map(workloadOf)).toEqual(["checkout", "agent", "db", "plain"]);
  });
});

describe("the identity book", () => {
  it("names processes by environment, pod, container, group, unit, and command with port, in that order", () => {
    const pod = `0::/kubepods/pod${podUid}/${container}\n`;
    makeProc(folder.path, [
      {
        pid: 10,
        command: "node",
        environment: { OTEL_SERVICE_NAME: "cart", OTEL_RESOURCE_ATTRIBUTES: "service.namespace=shop" },
        cgroup: pod,
      },
      { pid: 11, command: "node", environment: { HOSTNAME: "checkout-7d9f8b6c5d-x2x4k", POD_NAMESPACE: "shop" }, cgroup: pod },
      { pid: 12, command: "python", cgroup: `0::/docker/${container}\n` },
      { pid: 13, command: "nginx", cgroup: "0::/system.slice/nginx.service\n" },
      { pid: 14, command: "curl" },
      { pid: 15, command: "srv" },
      { pid: 16, command: "node", cgroup: "0::/shop/price\n" },
    ]);
    const { identities } = book();
    identities.listens(15, address("0.0.0.0:9000"), 0);
    const names = [10, 11, 12, 13, 14, 15].map((pid) => identities.of(pid, 0n, 0));
    expect(names.map((one) => one && `${one.namespace}/${one.name} ${one.source}`)).toEqual([
      "shop/cart environment",
      "shop/checkout pod",
      `null/python-${container.slice(0, 12)} container`,
      "null/nginx unit",
      null,
      "null/srv:9000 command",
    ]);
    expect(resourceOf(names[1]!)).toEqual({
      "service.name": "checkout",
      "service.namespace": "shop",
      "service.instance.id": podUid,
      "host.name": "host-1",
      "container.id": container,
      "k8s.pod.uid": podUid,
    });
    const scoped = book({ cgroups: ["/shop"] }).identities;
    expect([10, 16].map((pid) => scoped.of(pid, 0n, 0)?.name ?? null)).toEqual([null, "price"]);
    expect(identities.of(1, 0n, 0)).toBeNull();
  });

  it("gives workers the name of their master, and keeps the first port", () => {
    makeProc(folder.path, [
      { pid: 20, command: "nginx" },
      { pid: 21, command: "nginx", parent: 20 },
    ]);
    const { identities } = book();
    identities.listens(20, address("0.0.0.0:80"), 0);
    identities.listens(21, address("10.0.0.1:8080"), 0);
    expect([20, 21].map((pid) => identities.of(pid, 0n, 0)?.name)).toEqual(["nginx:80", "nginx:80"]);
    identities.verify();
    expect(identities.of(21, 0n, 0)?.name).toBe("nginx:80");
  });

  it("names datastores as the spans of their callers do, by what they speak or are called, and by the address that was reached", () => {
    makeProc(folder.path, [
      { pid: 30, command: "redis-server", environment: { OTEL_SERVICE_NAME: "cache" } },
      { pid: 31, command: "fake-db" },
      { pid: 32, command: "postgres" },
    ]);
    const { identities } = book();
    identities.listens(30, address("0.0.0.0:6379"), 0);
    expect(identities.of(30, 0n, 0)).toBeNull();
    identities.listens(30, address("10.0.0.3:6379"), 0);
    expect(identities.of(30, 0n, 0)?.name).toBe("redis@10.0.0.3:6379");
    expect(identities.ofServer(30, 0n, address("127.0.0.1:6379"), 0)?.name).toBe("redis@127.0.0.1:6379");
    identities.listens(31, address("10.0.0.4:3306"), 0);
    expect(identities.of(31, 0n, 0)?.name).toBe("fake-db:3306");
    identities.speaks(31, "mysql", address("10.0.0.4:3306"), 0);
    expect(identities.of(31, 0n, 0)?.name).toBe("mysql@10.0.0.4:3306");
    identities.speaks(32, "postgresql", { ip: "", port: 0, peerTgid: 5 }, 0);
    expect(identities.of(32, 0n, 0)?.name).toBe("postgresql@host-1");
  });

  it("reads a process again after exec, under a reused pid, and when it was moved to another group", () => {
    makeProc(folder.path, [{ pid: 40, command: "sh", environment: { OTEL_SERVICE_NAME: "one" } }]);
    const { identities } = book();
    expect(identities.of(40, 7n, 0)?.name).toBe("one");
    makeProc(folder.path, [{ pid: 40, command: "node", environment: { OTEL_SERVICE_NAME: "two" } }]);
    expect(identities.of(40, 7n, 0)?.name).toBe("one");
    identities.observe(processEvent({ type: "exec", tgid: 40 }));
    expect(identities.of(40, 7n, 0)?.name).toBe("two");
    makeProc(folder.path, [{ pid: 40, command: "node", environment: { OTEL_SERVICE_NAME: "three" }, startTicks: 99_999 }]);
    identities.verify();
    expect(identities.of(40, 7n, 0)?.name).toBe("three");
    makeProc(folder.path, [{ pid: 40, command: "node", environment: { OTEL_SERVICE_NAME: "four" }, startTicks: 99_999 }]);
    expect(identities.of(40, 8n, 500_000_000)?.name).toBe("three");
    expect(identities.of(40, 8n, 2_000_000_000)?.name).toBe("four");
  });

  it("knows a process that is gone by its group, and one that ended until it is expired", () => {
    makeProc(folder.path, [{ pid: 50, command: "node", cgroup: "0::/shop/cart\n" }]);
    const { identities } = book({ cgroups: ["/shop"] });
    expect(identities.of(50, 77n, 0)?.name).toBe("cart");
    expect(identities.of(51, 77n, 0)?.name).toBe("cart");
    rmSync(join(folder.path, "50"), { recursive: true });
    identities.observe(processEvent({ type: "exit", tgid: 50, atNs: 1_000 }));
    expect(identities.of(50, 0n, 2_000)?.name).toBe("cart");
    identities.expire(5_000);
    expect(identities.of(50, 0n, 6_000)).toBeNull();
  });

  it("takes the agent, and the platform that started it, for nobody", () => {
    makeProc(folder.path, [
      { pid: 1, command: "node", environment: { OTEL_SERVICE_NAME: "agent" } },
      { pid: 2, command: "node", environment: { OTEL_SERVICE_NAME: "platform" } },
      { pid: 3, command: "node", environment: { OTEL_SERVICE_NAME: "web" } },
    ]);
    const names = ({ identities }: ReturnType<typeof book>) => [1, 2, 3].map((pid) => identities.of(pid, 0n, 1)?.name ?? null);
    expect(names(book({ platformTgid: 2 }))).toEqual([null, null, "web"]);
    expect(names(book())).toEqual([null, "platform", "web"]);
  });

  it("is bounded in processes and in readings a second, counted", () => {
    makeProc(
      folder.path,
      Array.from({ length: 30 }, (_, at) => ({ pid: 100 + at, command: "node", environment: { OTEL_SERVICE_NAME: `s${at}` } })),
    );
    const { identities, counted } = book({ processesMax: 10, readsPerSecondMax: 20 });
    const found = Array.from({ length: 30 }, (_, at) => identities.of(100 + at, 0n, 0)?.name ?? null);
    expect(found.filter((name) => name !== null)).toHaveLength(20);
    expect(counted.filter((what) => what === "processes-forgotten")).toHaveLength(10);
    expect(counted.filter((what) => what === "reads-refused")).toHaveLength(10);
    expect(identities.of(125, 0n, 1_000_000_000)?.name).toBe("s25");
  });

  it("reads the live /proc of a real process", async () => {
    const files = new ProcessFiles();
    const facts = files.facts(process.pid);
    expect(facts?.parent).toBe(process.ppid);
    expect(facts?.cgroups.unified.startsWith("/")).toBe(true);
    const usage = files.usage(process.pid);
    expect(usage?.memoryBytes).toBeGreaterThan(10_000_000);
    expect(usage?.threads).toBeGreaterThan(1);
    expect(usage?.openFiles).toBeGreaterThan(2);
    const child = spawn(process.execPath, ["-e", "process.stdout.write('x'); setInterval(() => {}, 1000)"], {
      env: { ...process.env, OTEL_SERVICE_NAME: "a child" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const { identities } = book({ files });
    expect(identities.of(child.pid ?? 0, 0n, 0)?.name).toBe("a child");
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    expect(files.facts(child.pid ?? 0)).toBeNull();
    expect(files.usage(child.pid ?? 0)).toBeNull();
  });
});
