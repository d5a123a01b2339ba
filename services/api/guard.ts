/** What every request passes first: security headers, and checks that another web site is not speaking through the user's browser. */
import type { NextFunction, Request, Response } from "express";
import { HeadwaterError } from "../../contract/error.ts";
import { isLoopback } from "../../contract/loopback.ts";

/** The page takes everything from its own origin; nothing frames it, and nothing inline runs. */
const pagePolicy = [
  "default-src 'self'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** A report is one file: its styles are inside, and it needs neither scripts nor a network. */
export const reportPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'; sandbox";

/** Sets the headers that keep browsers strict. */
export function secureHeaders(_request: Request, response: Response, next: NextFunction): void {
  response.setHeader("Content-Security-Policy", pagePolicy);
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("X-Frame-Options", "DENY");
  response.setHeader("Referrer-Policy", "no-referrer");
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Resource-Policy", "same-origin");
  next();
}

/**
 * Refuses requests made for another site. While bound to loopback, `Host` must name this machine: a web page whose name was re-bound
 * to 127.0.0.1 still sends its own name. A writing request that a browser sends for another origin is refused everywhere.
 */
export function sameSite(host: string): (request: Request, response: Response, next: NextFunction) => void {
  const loopback = isLoopback(host);
  return (request, _response, next) => {
    const asked = request.headers.host ?? "";
    if (loopback && !isLoopback(hostName(asked))) {
      throw new HeadwaterError(
        "REQUEST_INVALID",
        `Host ${JSON.stringify(asked.slice(0, 200))} is not this machine; use localhost or 127.0.0.1`,
      );
    }
    const origin = request.headers.origin;
    const writes = request.method !== "GET" && request.method !== "HEAD";
    if (writes && origin !== undefined && originHost(origin) !== asked.toLowerCase()) {
      throw new HeadwaterError("REQUEST_INVALID", `Origin ${JSON.stringify(origin.slice(0, 200))} may not write here`);
    }
    next();
  };
}

function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d{1,5}$/, "");
}

function originHost(origin: string): string | null {
  try {
    return new URL(origin).host;
  } catch {
    return null;
  }
}
