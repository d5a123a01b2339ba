import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { canonicalJson } from "../../contract/canonical.ts";
import { walkOtlp } from "../../native/otlp-walk.ts";
import { readIncidents } from "../../services/command/incident-reader.ts";
import { type Recording, readRecording } from "../../services/command/recording.ts";
import { replay } from "../../services/command/replay.ts";
import type { RecordedBody } from "../../services/gateway/gateway-message.ts";

const fixtures = join(import.meta.dirname, "../fixture");
const recordings = readdirSync(fixtures).filter((name) => name.endsWith(".br"));
const settleMs = 1_000;

/** Everything of the incidents that is hashed: all but wall times. */
async function verdictBytes(recording: Recording): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "headwater-replay-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const app = await replay({ recording, dataDirectory: join(directory, "data"), webDirectory: null });
  try {
    const incidents = await readIncidents(app.ports.events);
    return canonicalJson(
      incidents.map((incident) => ({ id: incident.id, onsetMs: incident.onsetMs, alerts: incident.alerts, verdicts: incident.verdicts })),
    );
  } finally {
    await app.stop();
  }
}

/** A small generator of numbers in [0, 1), so that a failure can be repeated. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function sourceOf(body: RecordedBody): string {
  if (body.path === "/v1/changes") return body.path;
  const signal = body.path === "/v1/traces" ? "traces" : body.path === "/v1/metrics" ? "metrics" : "logs";
  const walked = walkOtlp(signal, "protobuf", body.body);
  return walked.ok ? `${body.path} ${canonicalJson(walked.resource)}` : body.path;
}

/** Moves every body by less than `settleMs` against the others, each source's own order kept. */
function interleaved(recording: Recording, seed: number): Recording {
  const random = mulberry32(seed);
  const newest = new Map<string, number>();
  const moved = recording.bodies.map((body, index) => {
    const source = sourceOf(body);
    const receivedAtMs = Math.max(newest.get(source) ?? 0, body.receivedAtMs + Math.floor(random() * (settleMs - 100)));
    newest.set(source, receivedAtMs);
    return { body: { ...body, receivedAtMs }, index };
  });
  moved.sort((left, right) => left.body.receivedAtMs - right.body.receivedAtMs || left.index - right.index);
  return { header: recording.header, bodies: moved.map((one) => one.body) };
}

describe("a recorded lab stream", () => {
  it("is there at least twice", () => {
    expect(recordings.length).toBeGreaterThanOrEqual(2);
  });

  for (const name of recordings) {
    it(`${name} gives verdicts, byte-equal when replayed again and when its batches are interleaved differently`, {
      timeout: 180_000,
    }, async () => {
      const recording = readRecording(join(fixtures, name));
      const first = await verdictBytes(recording);
      expect(first).toContain('"ranking":[{');
      expect(await verdictBytes(recording)).toBe(first);
      expect(await verdictBytes(interleaved(recording, 7))).toBe(first);
    });
  }
});
