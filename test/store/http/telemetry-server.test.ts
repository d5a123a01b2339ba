import { connect as connectSocket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TelemetryStore } from "../../../contract/port.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { openTelemetryServer } from "../../../store/http/telemetry-server.ts";
import { aTelemetryAppend } from "../../conformance/sample-messages.ts";
import { Counts, until, useTemporaryFolder } from "../../conformance/temporary.ts";

const token = "0123456789abcdef";

describe("the telemetry server's door", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;
  let store: TelemetryStore;
  let server: { url(): string; close(): Promise<void> };

  beforeEach(async () => {
    counts = new Counts();
    const common = { clock: new SystemClock(), onCounted: counts.onCounted };
    store = await openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", ...common });
    server = await openTelemetryServer({ host: "127.0.0.1", port: 0, token, store, ...common });
  });
  afterEach(async () => {
    await server.close();
    await store.close();
  });

  async function post(method: string, body: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${server.url()}/v1/${method}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, ...headers },
      body,
    });
    return { status: response.status, header: response.headers.get("headwater-telemetry-store"), text: await response.text() };
  }

  /** Sends bytes as they are, and answers what came back until the connection ended. */
  function raw(bytes: string, end: "end" | "stay"): Promise<string> {
    const { hostname, port } = new URL(server.url());
    return new Promise((resolve) => {
      let answer = "";
      const socket = connectSocket(Number(port), hostname, () => (end === "end" ? socket.end(bytes) : socket.write(bytes)));
      socket.on("data", (chunk) => {
        answer += chunk.toString();
        if (end === "stay") socket.destroy();
      });
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(answer));
    });
  }

  const head = (length: number) =>
    `POST /v1/append HTTP/1.1\r\nhost: store\r\nauthorization: Bearer ${token}\r\ncontent-length: ${length}\r\n\r\n`;

  it("is open to the machine itself without a token, and to nobody else", async () => {
    const options = { port: 0, token: null, store, clock: new SystemClock(), onCounted: counts.onCounted };
    for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.org"]) {
      await expect(openTelemetryServer({ ...options, host })).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining("store.token"),
      });
    }
    const local = await openTelemetryServer({ ...options, host: "localhost" });
    expect((await fetch(`${local.url()}/v1/retain`, { method: "POST", body: '{"nowMs":0}' })).status).toBe(200);
    await local.close();
  });

  it("names a port that is in use and an address that is not this machine's", async () => {
    const options = { token, store, clock: new SystemClock(), onCounted: counts.onCounted };
    const port = Number(new URL(server.url()).port);
    await expect(openTelemetryServer({ ...options, host: "127.0.0.1", port })).rejects.toMatchObject({ code: "PORT_IN_USE" });
    await expect(openTelemetryServer({ ...options, host: "192.0.2.1", port: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("asks for its token everywhere but for its health", async () => {
    for (const authorization of ["", "Bearer wrong", `Basic ${token}`, `Bearer ${token}x`, token]) {
      const answer = await post("retain", '{"nowMs":0}', { authorization });
      expect(answer).toMatchObject({ status: 401, header: "1" });
      expect(JSON.parse(answer.text)).toMatchObject({ code: "UNAUTHENTICATED" });
    }
    expect(counts.of("telemetry_server_unauthenticated")).toBe(5);
    expect((await fetch(`${server.url()}/protocol`)).status).toBe(401);
    expect(await (await fetch(`${server.url()}/livez`)).json()).toEqual({ status: "alive" });
    expect(await (await fetch(`${server.url()}/readyz`)).json()).toEqual({ status: "ready", reasons: [] });
    await store.close();
    const response = await fetch(`${server.url()}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "not ready", reasons: ["the telemetry store is closing"] });
  });

  it("names what is wrong with a request", async () => {
    for (const [method, body, status, code, message] of [
      ["erase", "{}", 404, "NOT_FOUND", "append, series"],
      ["constructor", "{}", 404, "NOT_FOUND", "append, series"],
      ["retain", "{nowMs", 400, "BODY_MALFORMED", "not JSON"],
      ["retain", "{}", 400, "REQUEST_INVALID", "nowMs"],
      ["append", JSON.stringify([{ ...aTelemetryAppend(1), windowStartMs: 1.5 }]), 400, "REQUEST_INVALID", "0.windowStartMs"],
      ["append", JSON.stringify([{ ...aTelemetryAppend(1), surprise: 1 }]), 400, "REQUEST_INVALID", "surprise"],
      ["spans", '{"fromMs":0,"toMs":1,"entities":[],"spansMax":1,"failedOnly":true}', 400, "REQUEST_INVALID", "failedOnly"],
      ["lines", '{"fromMs":0,"toMs":1,"entities":"a","templatesMax":-1}', 400, "REQUEST_INVALID", "entities: "],
    ] as const) {
      const answer = await post(method, body);
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.text)).toMatchObject({ code, message: expect.stringContaining(message) });
    }
    const get = await fetch(`${server.url()}/v1/series`, { headers: { authorization: `Bearer ${token}` } });
    expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await fetch(`${server.url()}/`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(404);
    expect(await store.spans({ fromMs: 0, toMs: 1e15, entities: [], failedOnly: "no", spansMax: 10 })).toEqual([]);
  });

  it("refuses a body that is too large, whether it says so or not, and writes nothing of one that is cut off", async () => {
    const announced = await raw(head(67_108_865), "stay");
    expect(announced).toContain("413");
    expect(announced).toContain("BODY_TOO_LARGE");
    const chunk = " ".repeat(67_108_865);
    const unannounced = head(0).replace("content-length: 0", "transfer-encoding: chunked") + chunk.length.toString(16);
    expect(await raw(`${unannounced}\r\n${chunk}\r\n0\r\n\r\n`, "stay")).toContain("BODY_TOO_LARGE");
    await until("both are counted", () => counts.of("telemetry_server_bodies_refused") === 2);
    const body = JSON.stringify([aTelemetryAppend(1)]);
    expect(await raw(head(body.length + 1) + body, "end")).not.toContain("200");
    await until("it is counted", () => counts.of("telemetry_server_bodies_truncated") === 1);
    expect(await store.spans({ fromMs: 0, toMs: 1e15, entities: [], failedOnly: "no", spansMax: 10 })).toEqual([]);
    expect((await post("append", body)).status).toBe(200);
  });
});
