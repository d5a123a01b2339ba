import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { canonicalJson } from "../../contract/canonical.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import { foldOf, rankTruth, type TruthItem } from "../../graph/case/score.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import { walkOtlp } from "../../native/otlp-walk.ts";
import { type Recording, readRecording } from "../../services/command/recording.ts";
import { replay } from "../../services/command/replay.ts";
import type { RecordedBody } from "../../services/gateway/gateway-message.ts";
import { renamed } from "../graph/rename-snapshot.ts";
import { ShopRandom } from "../graph/shop-random.ts";
import { type Replayed, replayedIn } from "./recorded-verdicts.ts";

const fixtures = join(import.meta.dirname, "../fixture");
const recordings = readdirSync(fixtures).filter((name) => name.endsWith(".br"));
const settleMs = 1_000;
const renamings = 5;

async function replayed(recording: Recording): Promise<Replayed> {
  const directory = mkdtempSync(join(tmpdir(), "headwater-replay-"));
  const app = await replay({ recording, dataDirectory: join(directory, "data"), webDirectory: null });
  try {
    return await replayedIn(app.ports.events);
  } finally {
    await app.stop();
    rmSync(directory, { recursive: true, force: true });
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

/** Where each of the candidates stands with ties counted against it, as if it alone were the truth. */
function pessimisticRanks(snapshot: EvidenceSnapshot, candidates: readonly TruthItem[]): number[] {
  const { ranking } = rankCauses(snapshot);
  const fold = foldOf(snapshot);
  return candidates.map((candidate) => rankTruth(ranking, [candidate], fold).rankPessimistic);
}

it("there are at least two recorded lab streams", () => {
  expect(recordings.length).toBeGreaterThanOrEqual(2);
});

describe.each(recordings)("the recorded lab stream %s", (name) => {
  const recording = readRecording(join(fixtures, name));
  let first: Replayed;
  beforeAll(async () => {
    first = await replayed(recording);
  }, 120_000);

  it("gives verdicts, byte-equal when replayed again and when its batches are interleaved differently", { timeout: 180_000 }, async () => {
    expect(first.bytes).toContain('"ranking":[{');
    expect((await replayed(recording)).bytes).toBe(first.bytes);
    expect((await replayed(interleaved(recording, 7))).bytes).toBe(first.bytes);
  });

  it("has every candidate at the same tie-aware rank when everything in a sealed snapshot is renamed and shuffled", () => {
    expect(first.sealed.length).toBeGreaterThan(0);
    for (const { snapshot, result } of first.sealed) {
      const candidates = result.ranking.map(({ type, id, kind }): TruthItem => ({ type, id, kind }));
      expect(candidates.length).toBeGreaterThan(1);
      // The snapshot is what the verdict was given on, not something near it.
      expect(canonicalJson(rankCauses(snapshot))).toBe(canonicalJson(result));
      const ranks = pessimisticRanks(snapshot, candidates);
      for (let seed = 1; seed <= renamings; seed += 1) {
        const other = renamed(snapshot, candidates, new ShopRandom(seed));
        expect(pessimisticRanks(other.snapshot, other.truth), `renaming ${seed}`).toEqual(ranks);
      }
    }
  });
});
