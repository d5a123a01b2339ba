/** What the ranker says (design §3 verdict, §7). */
import { z } from "zod";
import { BlindSpot, Interval } from "./evidence.ts";

export const FaultKind = z.enum([
  "cpu",
  "memory",
  "disk",
  "network",
  "dns-tls",
  "code-error",
  "code-slow",
  "config",
  "deploy",
  "datastore",
  "dependency-external",
  "load",
  "crash",
  "noisy-neighbour",
]);
export type FaultKind = z.infer<typeof FaultKind>;

export const CandidateRef = z.object({ type: z.enum(["entity", "dependency", "change"]), id: z.string().min(1).max(1_200) });
export type CandidateRef = z.infer<typeof CandidateRef>;

/** One statement about a candidate, with the ids of the evidence it rests on. */
export const Claim = z.object({
  /** A sentence for people, e.g. "server p95 of POST /pay rose from 12 ms to 940 ms". */
  text: z.string().max(1_000),
  stance: z.enum(["for", "against"]),
  /** How much it moved the candidate's score; larger is more. */
  weight: z.number(),
  evidence: z.array(z.string()).max(50),
  onsetMs: z.number().int().nullable(),
  /** Everything it rests on was seen by the kernel; absent otherwise. */
  source: z.literal("kernel").exactOptional(),
});
export type Claim = z.infer<typeof Claim>;

export const RankedCandidate = z.object({
  type: z.enum(["entity", "dependency", "change"]),
  id: z.string().min(1).max(1_200),
  /** Rounded to 1e-9; equal scores are ties, listed by id. */
  score: z.number(),
  kind: FaultKind.nullable(),
  /** A state change is a cause; what fails without being one is a critical failure; what only feels it is an impact. */
  role: z.enum(["cause", "critical-failure", "impact", "none"]),
  onsetMs: z.number().int().nullable(),
  /** Scale-free features, for the learned re-ranker and for people who want to see them. */
  features: z.record(z.string(), z.number()),
  claims: z.array(Claim).max(20),
});
export type RankedCandidate = z.infer<typeof RankedCandidate>;

/** The ranker's pure output for a snapshot. */
export const RankResult = z.object({
  schemaVersion: z.literal(1),
  conclusion: z.enum(["cause", "inconclusive"]),
  /** Null until it can be calibrated (issue 8). */
  confidence: z.number().min(0).max(1).nullable(),
  /** First line of page and report. */
  sentence: z.string().max(1_000),
  ranking: z.array(RankedCandidate),
  onsetMs: z.number().int().nullable(),
  normal: Interval,
  fault: Interval,
  counterEvidence: z.array(Claim),
  blindSpots: z.array(BlindSpot),
});
export type RankResult = z.infer<typeof RankResult>;

/** A version of the ranking for an incident. `id` is a hash of snapshot and result. */
export const Verdict = z.object({
  id: z.string().min(1).max(64),
  incident: z.string().min(1).max(64),
  version: z.number().int().positive(),
  /** The fixed event time for which it was asked (onset + 5, 15, 30, 60, 120 s, or at close). */
  askedForMs: z.number().int(),
  reason: z.enum(["onset+5s", "onset+15s", "onset+30s", "onset+60s", "onset+120s", "close"]),
  snapshotHash: z.string().min(1).max(64),
  result: RankResult,
});
export type Verdict = z.infer<typeof Verdict>;

/** By which way a verdict came: the adapter behind each port in words, and the queries by which the graph was read, each over all its runs. */
export const VerdictPath = z.object({
  engines: z.record(z.string().max(40), z.string().max(100)),
  queries: z.array(z.object({ name: z.string().max(100), count: z.number().int(), ms: z.number() })).max(100),
});
export type VerdictPath = z.infer<typeof VerdictPath>;

/**
 * What of the kernel a verdict rests on: series and operations with the windows that were looked at, and events with the batches (which are
 * the jobs of the queue) that brought them.
 */
export const KernelPath = z.object({
  /** The kernel's series, and its histograms as operations, among the evidence of the candidates. */
  samples: z
    .array(z.object({ id: z.string().max(1_200), fromMs: z.number().int(), toMs: z.number().int(), windows: z.number().int() }))
    .max(100),
  events: z
    .array(
      z.object({
        entity: z.string().max(512),
        event: z.string().max(100),
        atMs: z.number().int(),
        text: z.string().max(300),
        /** Null where it was not kept. */
        batch: z.string().max(200).nullable(),
      }),
    )
    .max(100),
  /** Samples and events beyond the bounds. */
  left: z.number().int(),
});
export type KernelPath = z.infer<typeof KernelPath>;

/** Lag, depth and wall times: shown, never hashed. Verdicts of older versions have no path. */
export const Operational = z.object({
  rankedInMs: z.number(),
  gatheredInMs: z.number(),
  answeredAtMs: z.number().int(),
  path: VerdictPath.optional(),
  /** Absent where no kernel evidence was used. */
  kernel: KernelPath.exactOptional(),
});
export type Operational = z.infer<typeof Operational>;

export const VerdictMessage = z.object({ verdict: Verdict, operational: Operational });
export type VerdictMessage = z.infer<typeof VerdictMessage>;

export const VerdictRequest = z.object({
  id: z.string().min(1).max(64),
  incident: z.string().min(1).max(64),
  version: z.number().int().positive(),
  askedForMs: z.number().int(),
  reason: Verdict.shape.reason,
  onsetMs: z.number().int(),
  symptoms: z.array(z.object({ entity: z.string(), metric: z.string(), atMs: z.number().int() })),
});
export type VerdictRequest = z.infer<typeof VerdictRequest>;
