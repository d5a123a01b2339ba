/** What happened to a service once, as log records: started and ended processes, killed for memory, refused connections, files. */
import { kernelEvent } from "../../contract/kernel-telemetry.ts";
import { errorName } from "./errno.ts";
import { FileAccess, type FileFinding } from "./file-access.ts";
import { type IdentityBook, resourceOf, type ServiceIdentity } from "./identity.ts";
import type { ConnectionClosed, EndAddress, ProcessEvent, SyscallDetail } from "./kernel-event.ts";
import type { Attributes, LogItem, ResourceItems } from "./otlp-item.ts";
import { serverAttributes } from "./request-naming.ts";
import { addressKey, plainAddress } from "./socket-address.ts";
import { syscallName } from "./syscall-names.ts";

export interface KernelEventsOptions {
  readonly identities: IdentityBook;
  readonly host: string;
  /** Records of one service and kind in one interval; the rest is counted in the last one's words. */
  readonly recordsPerServiceMax: number;
  readonly recordsMax: number;
  /** How long a service's binaries are only learned, in event time. */
  readonly learnNs: number;
  readonly onCounted: (what: "events-passed-over" | "file-services-refused" | "file-patterns-refused") => void;
}

interface Owner {
  readonly resource: Attributes;
  readonly name: string;
  readonly key: string;
}

interface Refusals {
  readonly owner: Owner;
  readonly server: EndAddress;
  readonly error: string;
  count: number;
  atNs: bigint;
}

const opens: ReadonlySet<string> = new Set(["open", "openat", "openat2", "creat", "open/32", "openat/32", "openat2/32", "creat/32"]);
const servicesMax = 1_024;
const binariesMax = 200;
const refusalsMax = 1_000;
const filePatternsMax = 500;
const fileFailuresMin = 20;
const pathLengthMax = 200;

export class KernelEvents {
  readonly #options: KernelEventsOptions;
  readonly #files: FileAccess;
  readonly #hostOwner: Owner;
  /** Binaries that a service was seen to run, since when. */
  readonly #binaries = new Map<string, { sinceNs: number; files: Set<string> }>();
  readonly #owners = new Map<string, Owner>();
  #records: { owner: Owner; item: LogItem }[] = [];
  #recordsOf = new Map<string, number>();
  #refusals = new Map<string, Refusals>();

  constructor(options: KernelEventsOptions) {
    this.#options = options;
    const { learnNs, onCounted } = options;
    this.#files = new FileAccess({ servicesMax, patternsMax: filePatternsMax, learnNs, failuresMin: fileFailuresMin, onCounted });
    this.#hostOwner = { resource: { "host.name": options.host }, name: options.host, key: "" };
  }

  /** `offsetNs` adds up to wall time. Ask before the process is forgotten. */
  process(event: ProcessEvent, offsetNs: number): void {
    if (event.type === "fork") return;
    const { identities } = this.#options;
    const who =
      identities.of(event.tgid, event.cgroup, event.atNs) ??
      (event.parentTgid === 0 ? null : identities.of(event.parentTgid, 0n, event.atNs));
    const atNs = wallNs(event.atNs, offsetNs);
    const owner = who === null ? null : this.#ownerOf(who);
    if (event.type === "oom-kill") this.#oomKill(event, owner ?? this.#hostOwner, atNs);
    else if (owner === null) return;
    else if (event.type === "exit") this.#exit(event, owner, atNs);
    else this.#exec(event, owner, atNs);
  }

  /** A connection that never came to be; many of one kind are one record an interval. */
  refused(event: ConnectionClosed, offsetNs: number): void {
    if (event.outcome !== "failed" || event.role === "server") return;
    const who = this.#options.identities.of(event.tgid, event.cgroup, event.atNs);
    if (who === null) return;
    const owner = this.#ownerOf(who);
    const server = plainAddress(event.remote);
    const error = errorName(-event.error) ?? `errno-${event.error}`;
    const key = `${owner.key}\n${addressKey(server)}\n${error}`;
    const known = this.#refusals.get(key);
    if (known !== undefined) {
      known.count += 1;
      known.atNs = wallNs(event.atNs, offsetNs);
    } else if (this.#refusals.size < refusalsMax) {
      this.#refusals.set(key, { owner, server, error, count: 1, atNs: wallNs(event.atNs, offsetNs) });
    } else this.#options.onCounted("events-passed-over");
  }

  syscall(event: SyscallDetail, offsetNs: number): void {
    if (!opens.has(syscallName(event.number))) return;
    const who = this.#options.identities.of(event.tgid, event.cgroup, event.atNs);
    if (who === null) return;
    const owner = this.#ownerOf(who);
    const finding = this.#files.opened(owner.key, event);
    if (finding !== null) this.#fileRecord(owner, finding, { atNs: wallNs(event.atNs, offsetNs), pid: event.tgid });
  }

  /** The records of the interval that ends; `endNs` is its last moment in wall time. */
  take(endNs: bigint): ResourceItems<LogItem>[] {
    for (const { owner, server, error, count, atNs } of this.#refusals.values()) {
      const body = `${owner.name} could not connect to ${addressKey(server)}: ${error} (${count} times)`;
      const attributes = { ...serverAttributes(server), "error.type": error, "headwater.count": count };
      this.#record(owner, { atNs, severity: "WARN", event: kernelEvent.refused, body, attributes });
    }
    for (const { service, finding } of this.#files.endInterval()) {
      const owner = this.#owners.get(service);
      if (owner !== undefined) this.#fileRecord(owner, finding, { atNs: endNs, pid: null });
    }
    const owners = new Map<string, { resource: Attributes; items: LogItem[] }>();
    for (const { owner, item } of this.#records) {
      const known = owners.get(owner.key);
      if (known === undefined) owners.set(owner.key, { resource: owner.resource, items: [item] });
      else known.items.push(item);
    }
    this.#records = [];
    this.#recordsOf = new Map();
    this.#refusals = new Map();
    return [...owners.values()];
  }

  #oomKill(event: ProcessEvent, owner: Owner, atNs: bigint): void {
    const body = `${event.command} (pid ${event.tgid}) of ${owner.name} was killed because its memory limit was reached`;
    this.#record(owner, { atNs, severity: "ERROR", event: kernelEvent.oomKill, body, attributes: processAttributes(event) });
  }

  #exit(event: ProcessEvent, owner: Owner, atNs: bigint): void {
    const { exitCode, exitSignal, command, tgid } = event;
    const how = exitSignal === 0 ? `ended with exit code ${exitCode}` : `was ended by signal ${exitSignal}`;
    const attributes = { ...processAttributes(event), "process.exit.code": exitCode, "process.exit.signal": exitSignal };
    const severity = exitSignal === 0 && exitCode === 0 ? "INFO" : "WARN";
    this.#record(owner, { atNs, severity, event: kernelEvent.exit, body: `${command} (pid ${tgid}) of ${owner.name} ${how}`, attributes });
  }

  /** Arguments may be secrets: what was started is told, not with what. */
  #exec(event: ProcessEvent, owner: Owner, atNs: bigint): void {
    const file = event.file === "" ? event.command : event.file.slice(0, pathLengthMax);
    const attributes = { ...processAttributes(event), "process.executable.path": file };
    const body = `${owner.name} started ${file} (pid ${event.tgid})`;
    this.#record(owner, { atNs, severity: "INFO", event: kernelEvent.exec, body, attributes });
    if (!this.#isNewBinary(owner, file, event.atNs)) return;
    const what = `${owner.name} ran a binary that it never ran before: ${file}`;
    this.#record(owner, { atNs, severity: "WARN", event: kernelEvent.security, body: what, attributes });
  }

  #isNewBinary({ key }: Owner, file: string, atNs: number): boolean {
    let known = this.#binaries.get(key);
    if (known === undefined) {
      if (this.#binaries.size >= servicesMax) return false;
      known = { sinceNs: atNs, files: new Set() };
      this.#binaries.set(key, known);
    }
    if (known.files.has(file) || known.files.size >= binariesMax) return false;
    known.files.add(file);
    return atNs - known.sinceNs >= this.#options.learnNs;
  }

  #fileRecord(owner: Owner, finding: FileFinding, at: { atNs: bigint; pid: number | null }): void {
    const process = at.pid === null ? {} : { "process.pid": at.pid };
    const attributes = { ...process, "file.path": finding.pattern };
    const { atNs } = at;
    if (finding.kind === "failures") {
      const body = `${owner.name} failed to open files ${finding.count} times: ${finding.error}, most often ${finding.pattern}`;
      const counted = { ...attributes, "error.type": finding.error, "headwater.count": finding.count };
      this.#record(owner, { atNs, severity: "WARN", event: kernelEvent.fileAccess, body, attributes: counted });
      return;
    }
    const body = finding.kind === "new" ? "opened a file that it never opened before" : "opened a file that is watched";
    const event = finding.kind === "new" ? kernelEvent.fileAccess : kernelEvent.security;
    this.#record(owner, {
      atNs,
      severity: finding.kind === "new" ? "INFO" : "WARN",
      event,
      body: `${owner.name} ${body}: ${finding.pattern}`,
      attributes,
    });
  }

  #ownerOf(who: ServiceIdentity): Owner {
    const known = this.#owners.get(who.key);
    if (known !== undefined) return known;
    const owner = { resource: resourceOf(who), name: who.name, key: who.key };
    if (this.#owners.size < servicesMax) this.#owners.set(who.key, owner);
    return owner;
  }

  #record(owner: Owner, item: LogItem): void {
    const key = `${owner.key}\n${item.event}`;
    const count = this.#recordsOf.get(key) ?? 0;
    this.#recordsOf.set(key, count + 1);
    if (count >= this.#options.recordsPerServiceMax || this.#records.length >= this.#options.recordsMax) {
      this.#options.onCounted("events-passed-over");
      return;
    }
    this.#records.push({ owner, item });
  }
}

function processAttributes({ tgid, parentTgid, command }: ProcessEvent): Attributes {
  return { "process.pid": tgid, "process.parent_pid": parentTgid, "process.command": command };
}

function wallNs(atNs: number, offsetNs: number): bigint {
  return BigInt(Math.round(atNs)) + BigInt(Math.round(offsetNs));
}
