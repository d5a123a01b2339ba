import { describe, expect, it } from "vitest";
import type { EndAddress } from "../../../services/agent/kernel-event.ts";
import { GatewayPlaces, type TelemetryPlaces } from "../../../services/agent/telemetry-places.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { decodeOtlp } from "../../native/otlp-oracle.ts";
import { agentOf, ListSource, makeProc, rawClosed, rawHttp, rawOpened, records } from "./agent-world.ts";

const folder = useTemporaryFolder();
const at = (ip: string, port: number): EndAddress => ({ ip, port, peerTgid: 0 });

async function placesOf(
  url: string,
  resolved: readonly string[],
  own: readonly string[] = ["10.0.0.1", "fe80::1"],
): Promise<GatewayPlaces> {
  const places = new GatewayPlaces({ url, netns: 7, resolve: () => Promise.resolve(resolved), own: () => own });
  await places.refresh();
  return places;
}

describe("where telemetry goes", () => {
  it("is every address of a name, at its port, or that of its scheme", async () => {
    const places = await placesOf("http://gateway:4318", ["192.0.2.1", "192.0.2.2"]);
    expect(["192.0.2.1", "192.0.2.2"].every((ip) => places.includes(at(ip, 4318), 7))).toBe(true);
    expect([places.includes(at("192.0.2.1", 80), 7), places.includes(at("10.0.0.1", 4318), 7)]).toEqual([false, false]);
    expect((await placesOf("https://gateway", ["192.0.2.1"])).includes(at("192.0.2.1", 443), 7)).toBe(true);
    expect((await placesOf("http://[2001:db8::1]:4318", ["2001:db8::1"])).includes(at("2001:db8::1", 4318), 7)).toBe(true);
  });

  it("is each of the machine's own addresses where the gateway is on this machine, and its loopback in this namespace only", async () => {
    for (const resolved of ["127.0.0.1", "10.0.0.1"]) {
      const places = await placesOf("http://localhost:4318", [resolved]);
      expect([places.includes(at("127.0.0.1", 4318), 7), places.includes(at("10.0.0.1", 4318), 8)]).toEqual([true, true]);
      expect([places.includes(at("127.0.0.1", 4318), 8), places.includes(at("10.0.0.9", 4318), 7)]).toEqual([false, false]);
    }
  });

  it("keeps the addresses of a name that cannot be resolved for a while", async () => {
    const answers: (readonly string[] | null)[] = [["192.0.2.1"], null, ["192.0.2.9"]];
    const resolve = () => {
      const answer = answers.shift() ?? null;
      return answer === null ? Promise.reject(new Error("no resolver")) : Promise.resolve(answer);
    };
    const places = new GatewayPlaces({ url: "http://gateway:4318", netns: 7, resolve, own: () => [] });
    const known = () => [places.includes(at("192.0.2.1", 4318), 7), places.includes(at("192.0.2.9", 4318), 7)];
    expect(known()).toEqual([false, false]);
    const seen: boolean[][] = [];
    for (let count = 0; count < 3; count += 1) {
      await places.refresh();
      seen.push(known());
    }
    expect(seen).toEqual([
      [true, false],
      [true, false],
      [false, true],
    ]);
  });
});

describe("an agent that knows where telemetry goes", () => {
  const web = { cookie: 1, role: "client", tgid: 100, local: "10.0.0.1:4000", remote: "10.0.0.2:80" } as const;
  const sending = { cookie: 2, role: "client", tgid: 100, local: "10.0.0.1:4001", remote: "10.0.0.9:4318" } as const;
  const taking = { cookie: 3, role: "server", tgid: 200, local: "10.0.0.9:4318", remote: "10.0.0.1:4001" } as const;
  const refused = { cookie: 4, role: "client", tgid: 100, local: "10.0.0.1:4002", remote: "10.0.0.9:4318" } as const;
  const places: TelemetryPlaces = { includes: ({ ip, port }) => ip === "10.0.0.9" && port === 4318 };

  async function told(telemetry: TelemetryPlaces | null): Promise<{ text: string; ignored: bigint[] }> {
    makeProc(folder.path, [
      { pid: 100, command: "node", environment: { OTEL_SERVICE_NAME: "web" } },
      { pid: 200, command: "collector", environment: { OTEL_SERVICE_NAME: "collector" } },
    ]);
    const post = (end: typeof sending | typeof taking) =>
      rawHttp(end, { request: "POST /v1/traces", status: 500, startMs: 1_100, endMs: 1_110, sequence: 1 });
    const source = new ListSource([
      records("lifecycle_ring", 1_001, [
        ...[web, sending, taking].map((end) => rawOpened(end, 1_000)),
        rawClosed(refused, 1_000, { failed: 1, error: 111 }),
      ]),
      records("data_ring", 1_400, [
        rawHttp(web, { request: "GET /price", status: 200, startMs: 1_100, endMs: 1_110, sequence: 1 }),
        post(sending),
        post(taking),
      ]),
    ]);
    const ignored: bigint[] = [];
    const control = {
      setLevel: () => Promise.resolve(),
      ignore: (cookie: bigint) => void ignored.push(cookie),
      giveUp: () => Promise.resolve(),
      programsCpu: () => Promise.resolve(null),
    };
    const { agent, sent } = agentOf(source, folder.path, { control, ...(telemetry === null ? {} : { telemetry }) });
    await agent.run();
    return { text: sent.map(({ signal, body }) => JSON.stringify(decodeOtlp(signal, body))).join("\n"), ignored };
  }

  it("reports the calls of a service and none of its telemetry, at either end, refused or not, and lets the kernel forget it", async () => {
    const everything = await told(null);
    for (const word of ["/v1/traces", "headwater.connection.refused", "http.server.request.duration", "/price"])
      expect(everything.text).toContain(word);
    expect(everything.ignored).toEqual([]);
    const { text, ignored } = await told(places);
    for (const word of ["/v1/traces", "headwater.connection.refused", "http.server.request.duration"]) expect(text).not.toContain(word);
    expect(text).toContain("/price");
    expect(ignored).toEqual([2n, 3n]);
  });
});
