/** What the gateway accepted: bytes as they came, numbered (design §4, Time). */
import { z } from "zod";

export const Signal = z.enum(["traces", "metrics", "logs"]);
export type Signal = z.infer<typeof Signal>;

/**
 * One accepted OTLP request. `id` = `<gateway>-<seq>`. `sequence` counts from 0 without gaps per `source`
 * (gateway, client resource and signal): a watermark moves only over contiguous numbers. A batch with an empty body says that nothing came
 * until it was received: without it, what a client sent last would wait for ever for the end of its window.
 */
export const TelemetryBatch = z.object({
  id: z.string().min(1).max(200),
  tenant: z.string().min(1).max(64),
  gateway: z.string().min(1).max(64),
  source: z.string().min(1).max(64),
  sequence: z.number().int().nonnegative(),
  signal: Signal,
  encoding: z.enum(["protobuf", "json"]),
  receivedAtMs: z.number().int(),
  /** Decompressed OTLP body. */
  body: z.instanceof(Uint8Array),
});
export type TelemetryBatch = z.infer<typeof TelemetryBatch>;
