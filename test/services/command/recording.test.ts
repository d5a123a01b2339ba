import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { OtlpWriter } from "../../../services/agent/otlp-writer.ts";
import { bodiesOf, RecordingWriter, readRecording } from "../../../services/command/recording.ts";

const directory = mkdtempSync(join(tmpdir(), "headwater-recording-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const header = { recording: 1, startedAtMs: 1_000_000, windowMs: 1_000, timeScale: 60 } as const;
const bodies = [
  { receivedAtMs: 1_000_010, path: "/v1/traces", contentType: "application/x-protobuf", body: new Uint8Array([10, 0, 13, 10, 255]) },
  {
    receivedAtMs: 1_000_020,
    path: "/v1/changes",
    contentType: "application/cloudevents+json",
    body: new TextEncoder().encode('{"id":"a"}\n'),
  },
  { receivedAtMs: 1_000_020, path: "/v1/logs", contentType: "application/x-protobuf", body: new Uint8Array(0) },
];

async function written(name: string): Promise<string> {
  const file = join(directory, name);
  const writer = new RecordingWriter(file, header);
  for (const body of bodies) writer.add(body);
  await writer.close();
  return file;
}

it("reads back what was written, byte for byte, newlines in bodies included", async () => {
  expect(readRecording(await written("whole.br"))).toEqual({ header, bodies });
});

it("refuses a truncated file and names it", async () => {
  const file = await written("cut.br");
  writeFileSync(file, readFileSync(file).subarray(0, -10));
  expect(() => readRecording(file)).toThrow(/cut\.br, record \d+: /);
});

it("refuses a file that is not there", () => {
  expect(() => readRecording(join(directory, "none.br"))).toThrow(/none\.br, record 0: ENOENT/);
});

it("tells the agent's telemetry from the services' own, and leaves changes to both", async () => {
  const writer = new OtlpWriter({ bodyBytesMax: 1_000_000, version: "1.0.0", sender: { "service.name": "headwater-agent" } });
  const item = { atNs: 1n, severity: "INFO", event: "process.exit", body: "headwater.agent", attributes: {} } as const;
  const [fromAgent] = writer.logs([{ resource: { "service.name": "cart" }, items: [item] }]);
  const named = { receivedAtMs: 1_000_030, path: "/v1/logs", contentType: "application/x-protobuf", body: fromAgent! };
  const spoken = { ...named, body: new TextEncoder().encode("a line that speaks of headwater.agent") };
  const recording = { header, bodies: [...bodies, named, spoken] };
  const [first, change, empty] = bodies;
  expect(bodiesOf(recording, "both")).toEqual(recording);
  expect(bodiesOf(recording, "kernel").bodies).toEqual([change, named]);
  expect(bodiesOf(recording, "otlp").bodies).toEqual([first, change, empty, spoken]);
});
