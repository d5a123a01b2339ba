import { describe, expect, it } from "vitest";
import { FileAccess, type FileFinding, pathPattern } from "../../../services/agent/file-access.ts";
import { IdentityBook } from "../../../services/agent/identity.ts";
import { KernelEvents } from "../../../services/agent/kernel-events.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { bootMs, makeProc } from "./agent-world.ts";
import { closedEvent, processEvent, syscallEvent } from "./kernel-events-by-hand.ts";

const folder = useTemporaryFolder();
const second = 1_000_000_000;
const offsetNs = bootMs * 1e6;

function events(recordsPerServiceMax = 20) {
  makeProc(folder.path, [
    { pid: 10, command: "node", environment: { OTEL_SERVICE_NAME: "cart" } },
    { pid: 20, command: "stranger" },
  ]);
  const counted: string[] = [];
  const book = { host: "h", cgroups: [], selfTgid: 1, processesMax: 100, readsPerSecondMax: 100, onCounted: () => undefined };
  const identities = new IdentityBook({ files: new ProcessFiles(folder.path), ...book });
  const options = { identities, host: "h", recordsPerServiceMax, recordsMax: 100, learnNs: 10 * second };
  const kernel = new KernelEvents({ ...options, onCounted: (what) => counted.push(what) });
  const take = (): string[] =>
    kernel.take(0n).flatMap(({ resource, items }) => {
      const owner = resource["service.name"] ?? resource["host.name"];
      return items.map(({ severity, event, body }) => `${owner} ${severity} ${event.replace("headwater.", "")}: ${body}`);
    });
  return { kernel, take, counted };
}

describe("kernel events", () => {
  it("tell of processes of services only, but of every one that was killed for memory", () => {
    const { kernel, take } = events();
    for (const tgid of [10, 20]) {
      kernel.process(processEvent({ type: "exec", tgid, file: "/usr/bin/node", arguments: ["--password=x"] }), offsetNs);
      kernel.process(processEvent({ type: "fork", tgid }), offsetNs);
      kernel.process(processEvent({ type: "exit", tgid, exitCode: 1 }), offsetNs);
      kernel.process(processEvent({ type: "oom-kill", tgid }), offsetNs);
    }
    const told = take();
    expect(told).toEqual([
      "cart INFO process.exec: cart started /usr/bin/node (pid 10)",
      "cart WARN process.exit: node (pid 10) of cart ended with exit code 1",
      "cart ERROR process.oom_kill: node (pid 10) of cart was killed because its memory limit was reached",
      "h ERROR process.oom_kill: node (pid 20) of h was killed because its memory limit was reached",
    ]);
    expect(told.join()).not.toContain("password");
    expect(take()).toEqual([]);
  });

  it("tell of a child of a service, of a signal, and of a binary that is new after a while", () => {
    const { kernel, take } = events();
    kernel.process(processEvent({ type: "exec", tgid: 99, parentTgid: 10, file: "/bin/sh" }), offsetNs);
    kernel.process(processEvent({ type: "exit", tgid: 99, parentTgid: 10, command: "sh", exitSignal: 9 }), offsetNs);
    kernel.process(processEvent({ type: "exec", tgid: 98, parentTgid: 10, file: "/tmp/x", atNs: 20 * second }), offsetNs);
    kernel.process(processEvent({ type: "exec", tgid: 97, parentTgid: 10, file: "/bin/sh", atNs: 20 * second }), offsetNs);
    expect(take()).toEqual([
      "cart INFO process.exec: cart started /bin/sh (pid 99)",
      "cart WARN process.exit: sh (pid 99) of cart was ended by signal 9",
      "cart INFO process.exec: cart started /tmp/x (pid 98)",
      "cart WARN security: cart ran a binary that it never ran before: /tmp/x",
      "cart INFO process.exec: cart started /bin/sh (pid 97)",
    ]);
  });

  it("make one record an interval of refused connections to one place", () => {
    const { kernel, take } = events();
    for (let at = 0; at < 5; at += 1)
      kernel.refused(closedEvent({ tgid: 10, role: "client", remote: "10.0.0.9:80", outcome: "failed", error: 111 }), offsetNs);
    kernel.refused(closedEvent({ tgid: 10, role: "client", remote: "10.0.0.9:80", outcome: "closed" }), offsetNs);
    kernel.refused(closedEvent({ tgid: 20, role: "client", remote: "10.0.0.9:80", outcome: "failed", error: 111 }), offsetNs);
    expect(take()).toEqual(["cart WARN connection.refused: cart could not connect to 10.0.0.9:80: ECONNREFUSED (5 times)"]);
  });

  it("tell of files: watched, new, and many that fail", () => {
    const { kernel, take } = events();
    kernel.syscall(syscallEvent({ tgid: 10, text: "/etc/shadow", result: -13 }), offsetNs);
    kernel.syscall(syscallEvent({ tgid: 10, text: "/srv/cart.yaml" }), offsetNs);
    kernel.syscall(syscallEvent({ tgid: 10, text: "/srv/other.yaml", atNs: 20 * second }), offsetNs);
    kernel.syscall(syscallEvent({ tgid: 10, number: 0, text: "/srv/not-opened", atNs: 20 * second }), offsetNs);
    for (let at = 0; at < 25; at += 1) kernel.syscall(syscallEvent({ tgid: 10, text: `/srv/user-${at}.json`, result: -2 }), offsetNs);
    expect(take()).toEqual([
      "cart WARN security: cart opened a file that is watched: /etc/shadow",
      "cart INFO file.access: cart opened a file that it never opened before: /srv/other.yaml",
      "cart WARN file.access: cart failed to open files 25 times: ENOENT, most often /srv/user-*.json",
    ]);
    expect(take()).toEqual([]);
  });

  it("are bounded by service and kind, counted", () => {
    const { kernel, take, counted } = events(3);
    for (let at = 0; at < 10; at += 1) kernel.process(processEvent({ type: "exit", tgid: 10 }), offsetNs);
    expect(take()).toHaveLength(3);
    expect(counted).toHaveLength(7);
  });
});

describe("file access", () => {
  it("keeps patterns without numbers and ids", () => {
    expect(pathPattern("/srv/orders/2026-11-25/0af7651916cd43dd.json")).toBe("/srv/orders/*/*.json");
    expect(pathPattern(`/a/${"x".repeat(60)}/b`)).toBe("/a/*/b");
    expect(pathPattern("/1/2/3/4/5/6/7/8/9/10")).toBe("/*/*/*/*/*/*/*/*/…");
  });

  it("is bounded in services and patterns, counted", () => {
    const counted: string[] = [];
    const options = { servicesMax: 2, patternsMax: 3, learnNs: 0, failuresMin: 5 };
    const files = new FileAccess({ ...options, onCounted: (what) => counted.push(what) });
    const found: (FileFinding | null)[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) found.push(files.opened("cart", syscallEvent({ text: `/srv/${name}` })));
    expect(found.filter((finding) => finding?.kind === "new")).toHaveLength(3);
    files.opened("price", syscallEvent({ text: "/srv/a" }));
    expect(files.opened("stock", syscallEvent({ text: "/srv/a" }))).toBeNull();
    expect(counted).toEqual(["file-patterns-refused", "file-patterns-refused", "file-services-refused"]);
  });
});
