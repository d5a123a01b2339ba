import { expect, it } from "vitest";
import { faultNames, rootFaultNames } from "../../../lab/fault/fault.ts";
import { startLabAgent } from "../../../services/command/lab-agent.ts";
import { parseFault, parseFaults, parseTelemetry } from "../../../services/command/lab-words.ts";
import { chooseTelemetry } from "../../../services/command/telemetry-choice.ts";

it("knows the faults of the lab, in its order: those that need no root, those that do, and every one", () => {
  expect(parseFaults("all")).toEqual([...faultNames]);
  expect(parseFaults("root")).toEqual([...rootFaultNames]);
  expect(parseFaults("every")).toEqual([...faultNames, ...rootFaultNames]);
  expect(parseFaults("crash,packet-loss")).toEqual(["crash", "packet-loss"]);
});

it("refuses faults that nobody knows, and several where one is needed", () => {
  expect(() => parseFaults("crash,fire")).toThrow("unknown fault fire; known are slow-code");
  expect(parseFault("refused")).toBe("refused");
  for (const text of ["all", "crash,refused", "fire"]) expect(() => parseFault(text)).toThrow();
});

it("takes the kinds of telemetry and nothing else, naming the option", () => {
  expect(parseTelemetry("kernel", "--use")).toBe("kernel");
  expect(() => parseTelemetry("ebpf", "--use")).toThrow("--use must be one of otlp, kernel, both");
});

it("observes by both where the kernel can tell, by OpenTelemetry with the reason where it cannot", () => {
  expect(chooseTelemetry(null, () => null).kind).toBe("both");
  expect(chooseTelemetry("kernel", () => null).kind).toBe("kernel");
  const less = chooseTelemetry(null, () => "no rights");
  expect(less).toEqual({ kind: "otlp", words: "the services report by OpenTelemetry and nothing else: no rights" });
});

it("does what was asked for or fails with the reason", () => {
  expect(chooseTelemetry("otlp", () => "no rights").kind).toBe("otlp");
  expect(() => chooseTelemetry("both", () => "no rights")).toThrow("--telemetry both is not possible: no rights");
});

it("starts no agent for a shop whose services the kernel could not tell apart", async () => {
  const ready = { event: "ready", cgroup: null };
  const start = startLabAgent({ ready, gateway: "http://127.0.0.1:1", directory: "/nowhere" });
  await expect(start).rejects.toThrow("the shop could not make control groups");
});
