import { describe, expect, it } from "vitest";
import type { Queue } from "../../../contract/port.ts";
import { until } from "../../conformance/temporary.ts";
import { fixedRequests } from "../../native/otlp-bodies.ts";
import { encodeOtlp } from "../../native/otlp-oracle.ts";
import { gatewayWorld, json, protobuf, useGatewayWorlds } from "./gateway-world.ts";

const open = useGatewayWorlds();
const traces = () => Uint8Array.from(encodeOtlp("traces", fixedRequests.traces));

describe("starting and stopping", () => {
  it("says in one line that a port is in use", async () => {
    const { gateway } = await open();
    const port = Number(new URL(gateway.url()).port);
    const error = await gatewayWorld({ http: { port } }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "PORT_IN_USE",
      message: `port ${port} on 127.0.0.1 is in use by another program; stop it or set gateway.port`,
    });
  });

  it("says which address cannot be listened on", async () => {
    const error = await gatewayWorld({ http: { host: "192.0.2.1" }, tokens: [{ token: "0123456789abcdef", roles: ["ingest"] }] }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: "CONFIG_INVALID" });
    expect((error as Error).message).toMatch(/^the gateway cannot listen on 192\.0\.2\.1:0 \(gateway\.host, gateway\.port\): /);
  });

  it("refuses to be open to the network without tokens", async () => {
    await expect(gatewayWorld({ http: { host: "0.0.0.0" } })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining('"gateway.host" is "0.0.0.0"'),
    });
  });

  it("answers what is in flight when it is stopped, then refuses", async () => {
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let publishing = false;
    const wrap = (queue: Queue): Queue => ({
      publish: async (topic, message) => {
        publishing = true;
        await held;
        await queue.publish(topic, message);
      },
      subscribe: (topic, reader, handler, options) => queue.subscribe(topic, reader, handler, options),
      depth: (topic, reader) => queue.depth(topic, reader),
      deadLetters: (options) => queue.deadLetters(options),
      retryDeadLetter: (id) => queue.retryDeadLetter(id),
      dropDeadLetter: (id) => queue.dropDeadLetter(id),
      drain: () => queue.drain(),
      close: () => queue.close(),
    });
    const { gateway, post } = await open({ wrap });
    const answer = post("/v1/traces", traces(), protobuf);
    await until("the body is being published", () => publishing);
    let stopped = false;
    const stopping = gateway.stop().then(() => {
      stopped = true;
    });
    const late = await gateway.accept({
      method: "POST",
      path: "/v1/traces",
      headers: json,
      body: Buffer.from(JSON.stringify(fixedRequests.traces)),
    });
    expect([late.status, late.headers["retry-after"]]).toEqual([503, "5"]);
    expect(stopped).toBe(false);
    letGo();
    expect((await answer).status).toBe(200);
    await stopping;
  });
});
