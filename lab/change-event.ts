/** Deploys, flags and configuration: drawn from a seed, carried out on the shop, announced as CloudEvents 1.0. */
import { request } from "node:http";
import type { ChangeKind } from "../contract/change.ts";
import type { Random } from "./random.ts";
import type { Shop } from "./shop.ts";
import { entityIdOf, type ShopSpec, serviceOf } from "./spec.ts";

const actors = ["ana", "build-bot", "chen", "deploy-bot", "farid", "ines", "release-train", "tomas"];
const settings = ["batch.size", "client.keepalive", "log.sampling", "page.size", "worker.count"];
const attemptsMax = 3;
const postWaitMs = 3_000;
const retryAfterMs = 200;

/** A change that will be made; what depends on the moment (versions, states of flags) is filled in then. */
export interface PlannedChange {
  readonly id: string;
  readonly service: string;
  readonly kind: Extract<ChangeKind, "deploy" | "flag" | "config">;
  readonly actor: string;
  /** The flag that is switched, or the setting that is set. */
  readonly subject: string;
  readonly value: number;
}

export function drawChange(random: Random, shop: ShopSpec, options: Pick<PlannedChange, "service" | "kind">): PlannedChange {
  return {
    id: random.hex(16),
    ...options,
    actor: random.pick(actors),
    subject: options.kind === "flag" ? random.pick(serviceOf(shop, options.service).flags) : random.pick(settings),
    value: random.integer(1, 64),
  };
}

/** How to take a change back on the shop. */
export type TakeBack = () => Promise<void>;

/** Makes the change on the shop and announces it; rejects when the receiver does not take the event. */
export async function enact(shop: Shop, change: PlannedChange, changesUrl: string): Promise<TakeBack> {
  const made = make(shop, change);
  const event = {
    specversion: "1.0",
    id: change.id,
    source: "//shop.lab/changes",
    type: `headwater.change.${change.kind}`,
    subject: entityIdOf(shop.spec, change.service),
    time: new Date().toISOString(),
    datacontenttype: "application/json",
    data: { summary: made.summary, actor: change.actor, undo: made.undo },
  };
  await made.act();
  await announce(changesUrl, JSON.stringify(event));
  return made.takeBack;
}

interface Made {
  readonly summary: string;
  readonly undo: string;
  readonly act: () => Promise<void>;
  readonly takeBack: TakeBack;
}

function make(shop: Shop, change: PlannedChange): Made {
  const { service, subject } = change;
  if (change.kind === "deploy") {
    const before = shop.versionOf(service);
    const after = nextVersion(before);
    return {
      summary: `deploy of ${service}: ${before} to ${after}`,
      undo: `shopctl deploy ${service} ${before}`,
      act: () => shop.setVersion(service, after),
      takeBack: () => shop.setVersion(service, before),
    };
  }
  if (change.kind === "flag") {
    const before = shop.flagOf(service, subject);
    const after = before === "on" ? "off" : "on";
    return {
      summary: `flag ${subject} of ${service} switched ${after}`,
      undo: `shopctl flag ${service} ${subject} ${before}`,
      act: () => shop.setFlag(service, subject, after),
      takeBack: () => shop.setFlag(service, subject, before),
    };
  }
  return {
    summary: `configuration of ${service}: ${subject} set to ${change.value}`,
    undo: `shopctl config ${service} unset ${subject}`,
    act: async () => {},
    takeBack: async () => {},
  };
}

function nextVersion(version: string): string {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return `${major}.${minor}.${patch + 1}`;
}

async function announce(url: string, body: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await post(url, body);
      return;
    } catch (error) {
      if (attempt >= attemptsMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }
}

function post(url: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/cloudevents+json", "content-length": Buffer.byteLength(body) };
    const sent = request(url, { method: "POST", headers, agent: false, timeout: postWaitMs }, (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) resolve();
      else reject(new Error(`${url} answered ${status} to a change event`));
    });
    sent.on("timeout", () => sent.destroy(new Error(`${url} did not answer a change event within ${postWaitMs} ms`)));
    sent.on("error", reject);
    sent.end(body);
  });
}
