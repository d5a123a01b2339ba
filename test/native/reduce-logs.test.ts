import { describe, expect, it } from "vitest";
import { hash32, partitionOf } from "../../contract/canonical.ts";
import { batchOf, logRequest, nanos, receivedAtMs, stringAttributes } from "./otlp-bodies.ts";
import { hexId, merged, partialsOf, windowStartMs } from "./reduced.ts";

describe("reducing log records", () => {
  const line = (body: string, fields: Record<string, unknown> = {}) => ({
    timeUnixNano: nanos(receivedAtMs - 5_000),
    severityNumber: 17,
    body: { stringValue: body },
    ...fields,
  });

  it("counts by severity and shape, and keeps error lines whole", () => {
    const lines = [line("order 17 failed after 120ms"), line("order 18 failed after 80ms"), line("ok", { severityNumber: 9 })];
    const result = merged([batchOf("logs", logRequest("cart", lines))]);
    const entry = result.windows[partitionOf("cart")];
    expect(partialsOf(result).map((partial) => [partial.attributes, "count" in partial && partial.count])).toEqual([
      ["severity=ERROR", 2],
      ["severity=INFO", 1],
    ]);
    const shape = entry?.shapes.find((found) => found.severity === "ERROR");
    expect(shape).toMatchObject({ text: "order <number> failed after <number>ms", count: 2, windowStartMs });
    const errors = entry?.lines.filter((kept) => kept.severity === "ERROR") ?? [];
    expect(errors.map((kept) => kept.body)).toEqual(["order 17 failed after 120ms", "order 18 failed after 80ms"]);
    expect(new Set(errors.map((kept) => kept.shape))).toEqual(new Set([shape?.shape]));
  });

  it("samples lines below ERROR by their trace", () => {
    const lines = Array.from({ length: 400 }, (_, index) => line("fine", { severityNumber: 9, traceId: hexId(32, index) }));
    const kept = merged([batchOf("logs", logRequest("cart", lines))]).windows.flatMap((entry) => entry.lines);
    expect(new Set(kept.map((each) => each.traceId))).toEqual(
      new Set(lines.map((_, index) => hexId(32, index)).filter((id) => hash32(id) % 8 === 0)),
    );
  });

  it("uses the observed time of a record without time, and the severity text without a number", () => {
    const record = line("x", {
      timeUnixNano: "0",
      observedTimeUnixNano: nanos(receivedAtMs - 4_000),
      severityNumber: 0,
      severityText: "Error",
    });
    const result = merged([batchOf("logs", logRequest("cart", [record]))]);
    expect(result.windows.flatMap((entry) => entry.lines)).toMatchObject([{ severity: "ERROR", atUs: (receivedAtMs - 4_000) * 1_000 }]);
  });

  it("tells the exception that is recorded beside the message", () => {
    const record = line("request failed", {
      attributes: stringAttributes({ "exception.type": "TypeError", "exception.message": "x is null" }),
    });
    const result = merged([batchOf("logs", logRequest("cart", [record]))]);
    expect(result.windows.flatMap((entry) => entry.lines)[0]?.body).toBe("request failed [TypeError: x is null]");
  });
});
