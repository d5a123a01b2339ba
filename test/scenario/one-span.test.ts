import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createClient } from "../../client/client.ts";
import { endHeadwater, eventually, startHeadwater, writeConfig } from "./headwater-process.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";
import { storedSpans } from "./stored-spans.ts";

it("shows a service that sent once and nothing after it", { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "headwater-one-span-"));
  const running = await startHeadwater(writeConfig(directory));
  onTestFinished(async () => {
    await endHeadwater(running, "SIGTERM");
    rmSync(directory, { recursive: true, force: true });
  });
  const startedMs = Date.now() - 1_000;
  expect(await sendTraces(running.otlpUrl, traceBody({ service: "hello", spanCount: 1, endMs: Date.now() }))).toBe(true);
  const client = createClient({ baseUrl: running.apiUrl });
  await eventually(
    () => client.call("services", {}),
    ({ items }) => items.some(({ entity }) => entity.id === "hello"),
    "hello is listed",
  );
  await eventually(
    () => storedSpans(running, "hello", startedMs),
    (count) => count === 1,
    "its span is in the stored windows",
  );
});
