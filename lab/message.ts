/** What the shop's processes say to each other over their IPC channels. */
import type { Place } from "./address.ts";
import type { FaultName } from "./fault/fault.ts";
import type { ServiceSpec } from "./spec.ts";

/** Everything a service process must know; addresses are of this machine. */
export interface ServiceSettings {
  /** Its own address: it listens there, and what it opens comes from there. */
  readonly address: string;
  /** 0 at its first start: any free port. It keeps that one. */
  readonly port: number;
  readonly instance: string;
  readonly seed: number;
  readonly namespace: string | null;
  readonly spec: ServiceSpec;
  /** Base URL of an OTLP/HTTP receiver; null: it reports nothing of itself. */
  readonly otlpUrl: string | null;
  readonly postgresUrl: string | null;
  /** Schema in which its table lives. */
  readonly schema: string;
  readonly redisUrl: string | null;
  /** The address from which datastores are reached; null: any, since one that was there before may not know ours. */
  readonly datastoreFrom: { readonly postgres: string | null; readonly redis: string | null };
  /** Prefix of its keys. */
  readonly keyPrefix: string;
}

export type ToService =
  | { readonly type: "configure"; readonly settings: ServiceSettings }
  | { readonly type: "fault"; readonly fault: FaultName; readonly magnitude: number; readonly variant: string }
  | { readonly type: "healthy" }
  /** Callee → where it is reached from here. */
  | { readonly type: "peers"; readonly peers: Readonly<Record<string, Place>> }
  /** Connections to this callee are given up as soon as they are idle; the next call opens another. */
  | { readonly type: "reconnect"; readonly callee: string }
  | { readonly type: "version"; readonly version: string }
  | { readonly type: "flag"; readonly flag: string; readonly value: "on" | "off" }
  | { readonly type: "stop" };

export type FromService =
  | { readonly type: "ready"; readonly port: number }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly text: string };

export type ToRelay =
  | { readonly type: "edges"; readonly edges: readonly string[] }
  | { readonly type: "target"; readonly edge: string; readonly place: Place; readonly standIn: string | null }
  | { readonly type: "delay"; readonly edge: string; readonly delayMs: number };

export type FromRelay =
  | { readonly type: "listening"; readonly ports: Readonly<Record<string, number>> }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly text: string };
