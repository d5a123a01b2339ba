/** What the shop's processes say to each other over their IPC channels. */
import type { FaultName } from "./fault/fault.ts";
import type { ServiceSpec } from "./spec.ts";

/** Everything a service process must know; addresses are of this machine. */
export interface ServiceSettings {
  readonly seed: number;
  readonly namespace: string | null;
  readonly spec: ServiceSpec;
  /** Base URL of an OTLP/HTTP receiver. */
  readonly otlpUrl: string;
  readonly postgresUrl: string | null;
  /** Schema in which its table lives. */
  readonly schema: string;
  readonly redisUrl: string | null;
  /** Prefix of its keys. */
  readonly keyPrefix: string;
  /** Callee → loopback port at which it is reached from here. */
  readonly peers: Readonly<Record<string, number>>;
}

export type ToService =
  | { readonly type: "configure"; readonly settings: ServiceSettings }
  | { readonly type: "fault"; readonly fault: FaultName; readonly magnitude: number; readonly variant: string }
  | { readonly type: "healthy" }
  | { readonly type: "version"; readonly version: string }
  | { readonly type: "flag"; readonly flag: string; readonly value: "on" | "off" }
  | { readonly type: "stop" };

export type FromService =
  | { readonly type: "ready"; readonly port: number }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly text: string };

export type ToRelay =
  | { readonly type: "edges"; readonly edges: readonly string[] }
  | { readonly type: "target"; readonly edge: string; readonly port: number }
  | { readonly type: "delay"; readonly edge: string; readonly delayMs: number };

export type FromRelay =
  | { readonly type: "listening"; readonly ports: Readonly<Record<string, number>> }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly text: string };
