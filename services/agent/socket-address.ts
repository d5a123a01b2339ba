/** Addresses of sockets as text. */
import type { EndAddress } from "./kernel-event.ts";

/** `ip:port`, an IPv6 address in brackets, as the address key of a span's peer has it. */
export function addressKey({ ip, port }: Pick<EndAddress, "ip" | "port">): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** An address of the machine itself, which means something within one network namespace only. */
export function isLoopbackAddress(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** "Every address". */
export function isWildcard(ip: string): boolean {
  return ip === "0.0.0.0" || ip === "::" || ip === "";
}

/** IPv4 inside IPv6, as a socket that takes both reports it, is IPv4: the other end says so. */
export function plainAddress(address: EndAddress): EndAddress {
  const found = /^::ffff:(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.exec(address.ip);
  return found === null ? address : { ...address, ip: found[1] ?? "" };
}
