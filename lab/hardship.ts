/** What the machine does to the services of a shop: packets, disks, processors. Everything is as it was after the opposite was asked for. */
import { existsSync, readFileSync, statSync } from "node:fs";
import type { Place } from "./address.ts";
import type { LabGroups } from "./cgroup.ts";
import { Child } from "./child.ts";
import { environmentOf } from "./environment.ts";
import type { MachineControl } from "./fault/fault.ts";
import { type Firewall, noRules } from "./firewall.ts";
import { journalFolder } from "./journal.ts";
import { LabError } from "./lab-error.ts";
import { neighbourOf, type ShopSpec, serviceOf } from "./spec.ts";

/** How far back "while it was well" is. */
const measureMs = 4_000;
const cpuPeriodUs = 250_000;
const hostPeriodUs = 200_000;
/** The kernel takes no less. */
const quotaUsMin = 1_000;
/** Of a control group, where 1,024 is everybody's. */
const neighbourWeight = 16_384;
/** As many as a machine of this size has cores, so that one of them always runs. */
const neighbourProcesses = 2;

export interface HardshipOptions {
  readonly spec: ShopSpec;
  readonly groups: LabGroups;
  readonly firewall: Firewall;
  readonly placeOf: (service: string) => Place;
}

export class Hardships implements MachineControl {
  readonly #options: HardshipOptions;
  readonly #neighbours = new Map<string, Child<never, never>[]>();
  readonly #cpu: CpuUse;
  /** How to take back the limits that are set. */
  readonly #limits = new Map<string, () => void>();

  constructor(options: HardshipOptions) {
    this.#options = options;
    this.#cpu = new CpuUse(options);
  }

  async losePackets(service: string, share: number): Promise<void> {
    const { firewall, placeOf } = this.#options;
    const { host } = placeOf(service);
    const others = firewall.rules.losses.filter(({ address }) => address !== host);
    await firewall.set({ ...firewall.rules, losses: share === 0 ? others : [...others, { address: host, share }] });
  }

  async refuseConnections(service: string, refuse: "yes" | "no"): Promise<void> {
    const { firewall, placeOf } = this.#options;
    const place = placeOf(service);
    const others = firewall.rules.refusals.filter(({ host }) => host !== place.host);
    await firewall.set({ ...firewall.rules, refusals: refuse === "no" ? others : [...others, place] });
  }

  limitCpu(service: string, share: number | null): void {
    const { groups } = this.#options;
    if (share === null) this.#takeBack(`cpu ${service}`);
    else {
      const quotaUs = Math.max(quotaUsMin, Math.round(this.#cpu.ratioOf(service) * share * cpuPeriodUs));
      this.#limits.set(`cpu ${service}`, () => groups.limitCpu(service, null));
      groups.limitCpu(service, { quotaUs, periodUs: cpuPeriodUs });
    }
  }

  limitWrites(service: string, bytesPerSecond: number | null): void {
    const { groups } = this.#options;
    if (bytesPerSecond === null) this.#takeBack(`disk ${service}`);
    else {
      const disk = diskOf(journalFolder);
      this.#limits.set(`disk ${service}`, () => groups.limitWrites(service, disk, null));
      groups.limitWrites(service, disk, bytesPerSecond);
    }
  }

  #takeBack(limit: string): void {
    this.#limits.get(limit)?.();
    this.#limits.delete(limit);
  }

  crowd(service: string, cores: number): void {
    const { groups, spec } = this.#options;
    const { host, services } = this.#onHostOf(service);
    const name = neighbourOf(host);
    const environment = environmentOf(spec, { name, version: null, instance: name, host });
    const children = Array.from({ length: neighbourProcesses }, () => new Child<never, never>("neighbour", name, environment));
    this.#neighbours.set(host, children);
    const pids = children.map(({ pid }) => pid);
    for (const pid of pids) groups.placeServer(name, pid);
    const quotaUs = Math.round(cores * hostPeriodUs);
    groups.share(host, { services, neighbour: pids, weight: neighbourWeight, quotaUs, periodUs: hostPeriodUs });
  }

  async uncrowd(service: string): Promise<void> {
    const { host, services } = this.#onHostOf(service);
    await Promise.all((this.#neighbours.get(host) ?? []).map((child) => child.end()));
    this.#neighbours.delete(host);
    await this.#options.groups.unshare(host, services);
  }

  #onHostOf(service: string): { host: string; services: string[] } {
    const { spec } = this.#options;
    const { host } = serviceOf(spec, service);
    return { host, services: spec.services.filter((other) => other.host === host).map(({ name }) => name) };
  }

  /** Ends what runs here, and lets go of the services, since one that may not work cannot end either. Limits of a host go with the groups. */
  async stop(): Promise<void> {
    this.#cpu.stop();
    for (const limit of [...this.#limits.keys()]) this.#takeBack(limit);
    await this.#options.firewall.set(noRules).catch(() => {});
    await Promise.all([...this.#neighbours.values()].flat().map((child) => child.end()));
  }
}

/** Processor time of every service over the last whole measure. */
class CpuUse {
  readonly #options: HardshipOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #seen = new Map<string, { atMs: number; cpuUs: number; ratio: number }>();

  constructor(options: HardshipOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#measure(), measureMs).unref();
  }

  #measure(): void {
    const { groups, spec } = this.#options;
    for (const { name } of spec.services) {
      const [atMs, cpuUs] = [performance.now(), groups.cpuUs(name)];
      const before = this.#seen.get(name);
      const ratio = before === undefined ? 0 : (cpuUs - before.cpuUs) / 1_000 / (atMs - before.atMs);
      this.#seen.set(name, { atMs, cpuUs, ratio });
    }
  }

  /** In cores; 0 of one that was not measured yet. */
  ratioOf(service: string): number {
    return this.#seen.get(service)?.ratio ?? 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** `major:minor` of the whole disk under a folder. Throws LAB_FAILED where there is none, as under a file system in memory. */
export function diskOf(folder: string): string {
  const { dev } = statSync(folder);
  const device = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
  const about = `/sys/dev/block/${device}`;
  if (!existsSync(about)) throw new LabError(`${folder} is on no disk that could be slow`);
  return existsSync(`${about}/partition`) ? readFileSync(`${about}/../dev`, "utf8").trim() : device;
}
