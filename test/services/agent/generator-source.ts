/** The generator's ring and the map of losses as a source, for tests of whatever reads a kernel. */
import type { MapReading } from "../../../services/agent/kernel-message.ts";
import { type KernelSource, openKernelSource } from "../../../services/agent/kernel-source.ts";
import { startFromTypeScript } from "./typescript-worker.ts";

export async function openGeneratorSource(options: {
  readonly object: { readonly name: string; readonly path: string };
  readonly by: "timer" | "wake";
  readonly ringBytes?: number;
  readonly batchBytes?: number;
  readonly batchesInFlightMax?: number;
  readonly maps?: readonly MapReading[];
}): Promise<KernelSource> {
  const { object, by, ringBytes = 4_194_304, batchBytes = 65_536, batchesInFlightMax = 4 } = options;
  const maps = options.maps ?? [{ name: "losses", everyMs: 50 }];
  const opened = await openKernelSource(
    {
      objects: [object],
      programs: null,
      ringBytes: { data_ring: ringBytes },
      mapEntriesMax: {},
      settings: {},
      rings: [{ name: "data_ring", by, everyMs: 5 }],
      maps,
      iterators: [],
      batchBytes,
      batchesInFlightMax,
      mapBytesMax: 1_048_576,
    },
    startFromTypeScript,
  );
  if (!opened.ok) throw new Error(opened.reason);
  return opened.source;
}
