import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { RecordingWriter, readRecording } from "../../../services/command/recording.ts";

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
