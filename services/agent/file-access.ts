/**
 * Which files a service opens, as a bounded set of path patterns: something new, something on the watch list, many failures at once become
 * events. Paths carry names of users and orders; only patterns are kept.
 */
import type { SyscallDetail } from "./kernel-event.ts";

export interface FileAccessOptions {
  readonly servicesMax: number;
  /** Patterns of one service; beyond, nothing is new any more. */
  readonly patternsMax: number;
  /** How long a service is only learned, in event time. */
  readonly learnNs: number;
  /** Opens that failed within an interval before that is an event. */
  readonly failuresMin: number;
  readonly onCounted: (what: "file-services-refused" | "file-patterns-refused") => void;
}

export type FileFinding =
  | { readonly kind: "new" | "watched"; readonly pattern: string; readonly result: number }
  | { readonly kind: "failures"; readonly pattern: string; readonly error: "ENOENT" | "EACCES"; readonly count: number };

interface Seen {
  readonly sinceNs: number;
  readonly patterns: Set<string>;
  readonly watched: Set<string>;
  /** Of this interval, by error and pattern. */
  failures: Map<string, number>;
}

/** Nobody opens these by the way; `*` is any part of a path. */
const watchList = [
  /^\/etc\/(?:shadow|gshadow|sudoers)(?:$|[/-])/,
  /^\/(?:root|home\/[^/]+)\/\.(?:ssh|aws|kube|gnupg|docker)\//,
  /^\/(?:var\/)?run\/docker\.sock$/,
  /^\/proc\/(?:\d+|\*)\/(?:mem|environ)$/,
  /^\/dev\/(?:mem|kmem)$/,
];
/** What every program reads, and what has a name of its own each time. */
const uninteresting = /^\/(?:proc|sys|dev)\/|\.so(?:\.[\d.]+)?$|^\/usr\/(?:lib|share)\/|^\/lib|\/node_modules\/|^\/etc\/ld\.so/;
const errors: Readonly<Record<number, "ENOENT" | "EACCES">> = { [-2]: "ENOENT", [-13]: "EACCES" };
const patternPartsMax = 8;
const patternLengthMax = 200;
const failurePatternsMax = 200;

export class FileAccess {
  readonly #options: FileAccessOptions;
  readonly #services = new Map<string, Seen>();

  constructor(options: FileAccessOptions) {
    this.#options = options;
  }

  /** One open of a service; answers what is worth telling at once. */
  opened(service: string, event: SyscallDetail): FileFinding | null {
    const { text: path, result, atNs } = event;
    if (path === "") return null;
    const seen = this.#seenBy(service, atNs);
    if (seen === null) return null;
    const pattern = pathPattern(path);
    if (watchList.some((watched) => watched.test(path))) {
      if (seen.watched.has(pattern) || seen.watched.size >= this.#options.patternsMax) return null;
      seen.watched.add(pattern);
      return { kind: "watched", pattern, result };
    }
    const error = errors[result];
    if (error !== undefined) this.#countFailure(seen, `${error} ${pattern}`);
    if (result < 0 || uninteresting.test(path) || seen.patterns.has(pattern)) return null;
    if (seen.patterns.size >= this.#options.patternsMax) {
      this.#options.onCounted("file-patterns-refused");
      return null;
    }
    seen.patterns.add(pattern);
    return atNs - seen.sinceNs < this.#options.learnNs ? null : { kind: "new", pattern, result };
  }

  /** Bursts of failures in the interval that ends, by service: the pattern that failed most stands for each. */
  endInterval(): { service: string; finding: FileFinding }[] {
    const found: { service: string; finding: FileFinding }[] = [];
    for (const [service, seen] of this.#services) {
      if (seen.failures.size === 0) continue;
      for (const error of ["ENOENT", "EACCES"] as const) {
        const rows = [...seen.failures].filter(([key]) => key.startsWith(`${error} `)).sort(([, left], [, right]) => right - left);
        const count = rows.reduce((sum, [, failures]) => sum + failures, 0);
        const pattern = rows[0]?.[0].slice(error.length + 1) ?? "";
        if (count >= this.#options.failuresMin) found.push({ service, finding: { kind: "failures", pattern, error, count } });
      }
      seen.failures = new Map();
    }
    return found;
  }

  #countFailure({ failures }: Seen, key: string): void {
    const place = failures.has(key) || failures.size < failurePatternsMax ? key : `${key.split(" ")[0]} other`;
    failures.set(place, (failures.get(place) ?? 0) + 1);
  }

  #seenBy(service: string, atNs: number): Seen | null {
    const known = this.#services.get(service);
    if (known !== undefined) return known;
    if (this.#services.size >= this.#options.servicesMax) {
      this.#options.onCounted("file-services-refused");
      return null;
    }
    const seen = { sinceNs: atNs, patterns: new Set<string>(), watched: new Set<string>(), failures: new Map<string, number>() };
    this.#services.set(service, seen);
    return seen;
  }
}

/** A path without numbers and ids: every part that holds a digit or is long and random is `*`. */
export function pathPattern(path: string): string {
  const parts = path.split("/");
  const masked = parts.slice(0, patternPartsMax + 1).map((part) => {
    if (/^[0-9a-f-]{8,}$/i.test(part) || part.length > 48) return "*";
    return part.replace(/[0-9a-f]{8,}/gi, "*").replace(/\d+/g, "*");
  });
  return `${masked.join("/")}${parts.length > patternPartsMax + 1 ? "/…" : ""}`.slice(0, patternLengthMax);
}
