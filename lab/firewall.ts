/**
 * What happens to the packets between the services, by rules of nftables in a table of our own: a detour through the relay, loss, refusal.
 * A detour leaves no trace: the caller goes on to see the callee's address, and what the relay sends on for it comes from the caller's
 * address and port, so that whoever watches sockets sees one connection between the two and not the relay.
 */
import { execFile } from "node:child_process";
import type { Place } from "./address.ts";
import { LabError, textOf } from "./lab-error.ts";
import { isRunning } from "./running.ts";

/** New connections of one caller to one callee go through the relay. */
export interface Detour {
  readonly caller: string;
  readonly callee: Place;
  readonly relayPort: number;
  /** From where the relay connects to the callee; turned into the caller's address on the way. */
  readonly standIn: string;
}

/** All that is wrong at a moment. */
export interface Rules {
  readonly detours: readonly Detour[];
  /** Packets from and to an address of which a share is lost. */
  readonly losses: readonly { readonly address: string; readonly share: number }[];
  /** Nobody can connect, and who is connected loses the connection. */
  readonly refusals: readonly Place[];
}

export const noRules: Rules = { detours: [], losses: [], refusals: [] };

const tablePrefix = "headwater_lab_";
const answerWaitMs = 10_000;
/** Shares are drawn in thousandths. */
const grain = 1_000;

/** The table of the lab with this process id. */
export function tableOf(pid: number): string {
  return `${tablePrefix}${pid}`;
}

/**
 * Chains without rules that do anything. The two that never fit are there because the kernel follows connections from the first rule on that
 * needs it: one that it has not followed from its beginning would be torn by a detour.
 */
export function tableText(table: string): string {
  return [
    `add table ip ${table}`,
    `add chain ip ${table} detour { type nat hook output priority -100 ; }`,
    `add chain ip ${table} disguise { type nat hook postrouting priority 100 ; }`,
    `add chain ip ${table} arrival { type filter hook input priority 0 ; }`,
    ...rulesText(table, noRules),
    "",
  ].join("\n");
}

/** Replaces what is in the table, in one step. */
export function changeText(table: string, rules: Rules): string {
  const flushed = ["detour", "disguise", "arrival"].map((chain) => `flush chain ip ${table} ${chain}`);
  return [...flushed, ...rulesText(table, rules), ""].join("\n");
}

function rulesText(table: string, rules: Rules): string[] {
  const add = (chain: string, rule: string): string => `add rule ip ${table} ${chain} ${rule}`;
  return [
    add("detour", "ip daddr 0.0.0.0 tcp dport 1 redirect to :1"),
    add("disguise", "ip daddr 0.0.0.0 tcp dport 1 snat to 127.0.0.1"),
    ...rules.detours.flatMap(({ caller, callee, relayPort, standIn }) => {
      const to = `ip daddr ${callee.host} tcp dport ${callee.port}`;
      return [
        add("detour", `ip saddr ${caller} ${to} redirect to :${relayPort}`),
        add("disguise", `ip saddr ${standIn} ${to} snat to ${caller}`),
      ];
    }),
    ...rules.refusals.map(({ host, port }) => add("arrival", `ip daddr ${host} tcp dport ${port} reject with tcp reset`)),
    ...rules.losses.flatMap(({ address, share }) => {
      const drop = `numgen random mod ${grain} < ${Math.round(share * grain)} drop`;
      // On arrival, since a sender is told of what is dropped before it left.
      return [add("arrival", `ip daddr ${address} ${drop}`), add("arrival", `ip saddr ${address} ${drop}`)];
    }),
  ];
}

/** Our table, while it is there. */
export class Firewall {
  readonly #table: string;
  #rules = noRules;
  #change: Promise<void> = Promise.resolve();

  private constructor(table: string) {
    this.#table = table;
  }

  /** Makes the table, and removes those of labs that were killed. Throws LAB_FAILED where this machine does not allow it. */
  static async open(pid: number): Promise<Firewall> {
    await sweep();
    await nft(tableText(tableOf(pid)));
    return new Firewall(tableOf(pid));
  }

  get rules(): Rules {
    return this.#rules;
  }

  /** Puts these rules in the place of those that are there. */
  set(rules: Rules): Promise<void> {
    this.#rules = rules;
    this.#change = this.#change.catch(() => {}).then(() => nft(changeText(this.#table, this.#rules)));
    return this.#change;
  }

  async close(): Promise<void> {
    await this.#change.catch(() => {});
    await nft(`delete table ip ${this.#table}\n`).catch(() => {});
  }
}

/** Tables in a listing whose lab is gone. */
export function leftTables(listing: string): string[] {
  const found = [...listing.matchAll(/^table ip (headwater_lab_(\d+))$/gm)];
  return found.flatMap(([, table, pid]) => (table === undefined || isRunning(Number(pid)) ? [] : [table]));
}

async function sweep(): Promise<void> {
  for (const table of leftTables(await run(["list", "tables", "ip"], ""))) await nft(`delete table ip ${table}\n`).catch(() => {});
}

async function nft(text: string): Promise<void> {
  await run(["-f", "-"], text);
}

function run(words: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile("nft", [...words], { timeout: answerWaitMs }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new LabError(`nft (Debian: nftables): ${stderr.trim().split("\n")[0] || textOf(error)}`));
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}
