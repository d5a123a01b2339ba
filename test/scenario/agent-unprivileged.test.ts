import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { agentNodeOptions } from "../../services/command/agent-child.ts";
import { until, useTemporaryFolder } from "../conformance/temporary.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";

const root = join(import.meta.dirname, "../..");
const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
const rights = ["--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=-all,+bpf,+perfmon", "--bounding-set=-all,+bpf,+perfmon"];
const program = join(root, "dist/services/main.js");

function reasonAgainst(): string | null {
  if (noKernelPrograms !== null) return noKernelPrograms;
  if (!existsSync(join(root, "dist/services/agent/kernel-worker.js"))) return "nothing is compiled in dist";
  const tried = spawnSync("setpriv", [
    ...nobody,
    ...rights,
    process.execPath,
    "-e",
    `require("fs").accessSync(${JSON.stringify(program)})`,
  ]);
  return tried.status === 0 ? null : "setpriv is not there, or user 65534 cannot read this folder";
}

const reason = reasonAgainst();
const suite = reason === null ? describe : describe.skip;
if (reason !== null) console.warn(`the agent without root is not tested: ${reason}`);

const server = `require("node:http").createServer((_, answer) => answer.end("ok")).listen(0, "127.0.0.1", function () { console.log(this.address().port); })`;
const client = `const http = require("node:http"); const agent = new http.Agent({ keepAlive: true });
setInterval(() => http.get({ agent, host: "127.0.0.1", port: Number(process.argv[1]), path: "/stock/17" }, (answer) => answer.resume()), 20)`;

suite(`the compiled agent as user 65534 with CAP_BPF and CAP_PERFMON${reason === null ? "" : `: ${reason}`}`, () => {
  const folder = useTemporaryFolder();
  const children: ChildProcess[] = [];
  afterEach(async () => {
    for (const child of children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
  });

  function asNobody(
    words: readonly string[],
    options: { readonly service?: string; readonly rights?: readonly string[] } = {},
  ): ChildProcess {
    const env = { PATH: process.env.PATH, ...(options.service === undefined ? {} : { OTEL_SERVICE_NAME: options.service }) };
    const args = [...nobody, ...(options.rights ?? ["--inh-caps=-all"]), process.execPath, ...words];
    const child = spawn("setpriv", args, { env, stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
    children.push(child);
    return child;
  }

  it("sees requests between two processes of its user, and says what it cannot see", async () => {
    const bodies: Buffer[] = [];
    const gateway = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        const body = Buffer.concat(parts);
        bodies.push(request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body);
        response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
      });
    });
    gateway.listen(0, "127.0.0.1");
    await once(gateway, "listening");
    const config = join(folder.path, "agent.yaml");
    const agent = { intervalMs: 1_000, cpuBudget: 64, memoryMaxMb: 1_024 };
    writeFileSync(config, JSON.stringify({ apiVersion: "headwater/v1", kind: "Configuration", spec: { agent } }));
    spawnSync("chmod", ["-R", "a+rX", folder.path]);
    const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
    const observer = asNobody([...agentNodeOptions, program, "agent", "--json", "--config", config, "--gateway", url], { rights });
    let said = "";
    observer.stdout?.on("data", (part: Buffer) => {
      said += part.toString("utf8");
    });
    let trouble = "";
    observer.stderr?.on("data", (part: Buffer) => {
      trouble += part.toString("utf8");
    });
    await until("the agent is ready", () => said.includes('"ready":true') || observer.exitCode !== null);
    const ready = JSON.parse(said.split("\n").find((line) => line.includes('"ready"')) ?? `{"trouble":${JSON.stringify(trouble)}}`);
    expect(ready).toMatchObject({ ready: true });
    expect(ready.missing).toEqual([
      expect.stringContaining("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH missing"),
      expect.stringContaining("CAP_SYS_ADMIN missing"),
    ]);
    const shop = asNobody(["-e", server], { service: "stock" });
    const [port] = await once(shop.stdout ?? shop, "data");
    asNobody(["-e", client, String(port).trim()], { service: "checkout" });
    const has = (...words: string[]) => bodies.some((body) => words.every((word) => body.includes(word)));
    await until("both sides are told", () => {
      return has("http.server.request.duration", "stock") && has("http.client.request.duration", "checkout") && has("/stock/");
    });
    gateway.closeAllConnections();
    gateway.close();
  }, 40_000);
});
