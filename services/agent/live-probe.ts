/** The kernel for a live command: few programs, own maps, read often; or why not, in one line. */
import { release } from "node:os";
import type { ProbeBatch } from "../../contract/port.ts";
import { builtObjectPath } from "../../native/kernel-probe.ts";
import { decodeLosses } from "./decode-counters.ts";
import { troubleOf } from "./doctor.ts";
import { readHostFacts } from "./host-facts.ts";
import { type IteratorReading, type KernelReaderOptions, type MapReading, whenAsked } from "./kernel-message.ts";
import { type KernelSource, openKernelSource, readerBounds, type StartWorker } from "./kernel-source.ts";
import { lossName } from "./loss-name.ts";
import { encodeSettings, type ProbeSettings, scopeKey, scopeValue } from "./probe-settings.ts";

/** Where compiled objects are and how the reading thread is started, for whoever runs from TypeScript. */
export interface LivePlaces {
  readonly objectPath: (name: string) => string | null;
  readonly startWorker?: StartWorker;
}

/** The installation's own. */
export const installedPlaces: LivePlaces = { objectPath: builtObjectPath };

export interface LiveProbeOptions {
  /** Objects without which there is nothing to show. */
  readonly needed: readonly string[];
  /** Objects that add something; what is missing of them is told. */
  readonly further: readonly string[];
  /** Names of programs; null: all of these objects. */
  readonly programs: readonly string[] | null;
  readonly settings: ProbeSettings;
  readonly ringBytes: Readonly<Record<string, number>>;
  readonly mapEntriesMax: Readonly<Record<string, number>>;
  /** Rings, read every 5 ms. */
  readonly rings: readonly string[];
  /** Maps, read when it is asked for, as `losses` is. */
  readonly maps: readonly MapReading[];
  readonly iterators: readonly IteratorReading[];
}

export type OpenedLiveProbe = { readonly ok: true; readonly probe: LiveProbe } | { readonly ok: false; readonly reason: string };

/** People do not see 5 ms; being woken for each record costs ten times the processor time. */
const ringReadEveryMs = 5;
/** Of the reading of what is left at the end. */
const lastReadingsMax = 1_000;

/** Own maps, so that it works beside an agent of this host. Nothing stays attached where it answers a reason. */
export async function openLiveProbe(options: LiveProbeOptions, places: LivePlaces = installedPlaces): Promise<OpenedLiveProbe> {
  const wanted = [...options.needed, ...options.further].map((name) => ({ name, path: places.objectPath(name) }));
  const objects = wanted.flatMap(({ name, path }) => (path === null ? [] : [{ name, path }]));
  const missing = options.needed.filter((name) => !objects.some((object) => object.name === name));
  if (missing.length > 0) {
    return { ok: false, reason: `${missing.join(", ")} is not compiled: node scripts/setup.mjs --kernel builds it` };
  }
  const settings = encodeSettings(options.settings);
  const reader: KernelReaderOptions = {
    ...readerBounds,
    objects,
    programs: options.programs,
    ringBytes: options.ringBytes,
    mapEntriesMax: options.mapEntriesMax,
    settings: Object.fromEntries(objects.map(({ name }) => [name, settings])),
    rings: options.rings.map((name) => ({ name, by: "timer", everyMs: ringReadEveryMs })),
    maps: [...options.maps, { name: "losses", everyMs: whenAsked }],
    iterators: options.iterators,
  };
  const opened = await (places.startWorker === undefined ? openKernelSource(reader) : openKernelSource(reader, places.startWorker));
  if (!opened.ok) return opened;
  const probe = new LiveProbe(opened.source, { settings: options.settings, objects: objects.map(({ name }) => name) });
  const host = readHostFacts(release());
  const [programs, infos] = [await opened.source.programs(), await opened.source.objects()];
  const of = (names: readonly string[]) =>
    troubleOf(
      programs.filter(({ object }) => names.includes(object)),
      infos.filter(({ name }) => names.includes(name)),
      host,
    );
  const trouble = of(options.needed);
  if (trouble === null) {
    probe.lacks = of(options.further);
    return { ok: true, probe };
  }
  await probe.close();
  return { ok: false, reason: trouble };
}

/** Open until `close`. */
export class LiveProbe {
  readonly source: KernelSource;
  /** Why something that adds to it is missing; null while nothing is. */
  lacks: string | null = null;
  readonly #objects: readonly string[];
  #settings: ProbeSettings;
  readonly #watched = new Map<string, Uint8Array>();
  #losses: ReadonlyMap<number, number> = new Map();

  /** Use `openLiveProbe`. */
  constructor(source: KernelSource, options: { readonly settings: ProbeSettings; readonly objects: readonly string[] }) {
    this.source = source;
    this.#settings = options.settings;
    this.#objects = options.objects;
  }

  /** What did not fit, by place, as it was when `losses` was read last. */
  get losses(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#losses].filter(([, count]) => count > 0).map(([where, count]) => [lossName(where), count]));
  }

  /** Watches these processes and groups, and no others any more. */
  async watch(subjects: readonly ({ readonly tgid: number } | { readonly cgroup: bigint })[]): Promise<void> {
    const wanted = new Map(
      subjects.map((subject) => {
        const name = "tgid" in subject ? `process ${subject.tgid}` : `group ${subject.cgroup}`;
        return [name, scopeKey(subject)] as const;
      }),
    );
    const added = [...wanted].filter(([name]) => !this.#watched.has(name));
    const gone = [...this.#watched].filter(([name]) => !wanted.has(name));
    if (added.length + gone.length === 0) return;
    for (const [name, key] of added) {
      await this.source.updateMap("scope", key, scopeValue("watch"));
      this.#watched.set(name, key);
    }
    for (const [name, key] of gone) {
      await this.source.deleteFromMap("scope", key);
      this.#watched.delete(name);
    }
    this.#settings = { ...this.#settings, scopeGeneration: this.#settings.scopeGeneration + 1 };
    for (const object of this.#objects) await this.source.writeSettings(object, encodeSettings(this.#settings));
  }

  /**
   * Hands over every batch until `until` resolves; then the programs are detached, and what they left is handed over as well. Batches are
   * valid until the next one. Waits for `onBatch`: whoever is slow loses records in the ring, where they are counted.
   */
  async read(until: Promise<void>, onBatch: (batch: ProbeBatch) => Promise<void> | void): Promise<void> {
    const over = until.then(() => "over" as const);
    let next = this.source.next();
    for (;;) {
      // The first that is settled wins: on a busy machine there is always a next batch.
      const batch = await Promise.race([over, next]);
      if (batch === "over") break;
      if (batch === null) return;
      await this.#take(batch, onBatch);
      next = this.source.next();
    }
    for (const { object, name, attached } of await this.source.programs()) if (attached) await this.source.detach(`${object}/${name}`);
    for (let readings = 0; readings < lastReadingsMax; readings += 1) {
      // Map `losses` is read along with the rings, so that there is always something to come.
      await this.source.readNow();
      let records = 0;
      for (let isMore = true; isMore; next = this.source.next()) {
        const batch = await next;
        if (batch === null) return;
        if (batch.kind === "records") records += 1;
        await this.#take(batch, onBatch);
        isMore = this.source.waiting > 0;
      }
      if (records === 0) return;
    }
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  async #take(batch: ProbeBatch, onBatch: (batch: ProbeBatch) => Promise<void> | void): Promise<void> {
    if (batch.kind === "entries" && batch.name === "losses") this.#losses = decodeLosses(batch) ?? this.#losses;
    else await onBatch(batch);
  }
}
