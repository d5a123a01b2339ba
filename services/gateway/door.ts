/** What is checked before a body is read: path, method, token, content type and encoding. */
import { createHash, timingSafeEqual } from "node:crypto";
import { HeadwaterError } from "../../contract/error.ts";
import type { Role } from "../../contract/route.ts";
import type { Signal } from "../../contract/telemetry.ts";
import type { AnswerForm } from "./error-response.ts";
import type { GatewayHeaders } from "./gateway-message.ts";

export interface GatewayToken {
  readonly token: string;
  readonly roles: readonly Role[];
}

/** Roles that may send telemetry and changes. */
const senderRoles: ReadonlySet<Role> = new Set<Role>(["ingest", "agent", "admin"]);

export type GatewayRoute =
  | { readonly kind: "telemetry"; readonly signal: Signal }
  | { readonly kind: "changes" }
  | { readonly kind: "livez" };

const routes: Readonly<Record<string, { readonly method: "GET" | "POST"; readonly route: GatewayRoute }>> = {
  "/v1/traces": { method: "POST", route: { kind: "telemetry", signal: "traces" } },
  "/v1/metrics": { method: "POST", route: { kind: "telemetry", signal: "metrics" } },
  "/v1/logs": { method: "POST", route: { kind: "telemetry", signal: "logs" } },
  "/v1/changes": { method: "POST", route: { kind: "changes" } },
  "/livez": { method: "GET", route: { kind: "livez" } },
};

/** A path without its query. */
export function pathOf(path: string): string {
  const end = path.search(/[?#]/);
  return end === -1 ? path : path.slice(0, end);
}

/** Throws NOT_FOUND and METHOD_NOT_ALLOWED. */
function routeOf(method: string, path: string): GatewayRoute {
  const row = Object.hasOwn(routes, pathOf(path)) ? routes[pathOf(path)] : undefined;
  if (row === undefined) {
    throw new HeadwaterError("NOT_FOUND", `there is nothing at ${pathOf(path).slice(0, 200)}; known are ${Object.keys(routes).join(", ")}`);
  }
  if (row.method !== method) {
    throw new HeadwaterError("METHOD_NOT_ALLOWED", `${method.slice(0, 20)} is not allowed at ${pathOf(path)}; use ${row.method}`);
  }
  return row.route;
}

/** The method that a path takes, for the Allow header. */
export function allowedMethod(path: string): string {
  return (Object.hasOwn(routes, pathOf(path)) ? routes[pathOf(path)]?.method : undefined) ?? "GET";
}

/** Throws UNAUTHENTICATED and FORBIDDEN. Without configured tokens everybody may send. */
export function checkToken(headers: GatewayHeaders, tokens: readonly GatewayToken[]): void {
  if (tokens.length === 0) return;
  const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  if (given === undefined) throw new HeadwaterError("UNAUTHENTICATED", "send a token as `Authorization: Bearer <token>`");
  const found = tokens.find(({ token }) => sameText(token, given));
  if (found === undefined) throw new HeadwaterError("UNAUTHENTICATED", "the token is not known");
  if (!found.roles.some((role) => senderRoles.has(role))) {
    throw new HeadwaterError(
      "FORBIDDEN",
      `the token has the roles ${found.roles.join(", ")}; sending needs one of ${[...senderRoles].join(", ")}`,
    );
  }
}

/** In a time that does not depend on where the two differ. */
function sameText(left: string, right: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}

/** The media type in lower case, without its parameters. */
export function mediaType(headers: GatewayHeaders): string {
  return (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/** Throws CONTENT_TYPE_UNSUPPORTED naming what is accepted. */
export function telemetryEncoding(headers: GatewayHeaders): "protobuf" | "json" {
  const type = mediaType(headers);
  if (type === "application/x-protobuf" || type === "application/protobuf") return "protobuf";
  if (type === "application/json") return "json";
  throw new HeadwaterError(
    "CONTENT_TYPE_UNSUPPORTED",
    `the content type ${type === "" ? "is missing" : `"${type.slice(0, 100)}" is not supported`}; send application/x-protobuf or application/json`,
  );
}

export type ChangeMode = "structured" | "batch" | "binary";

/** Throws CONTENT_TYPE_UNSUPPORTED naming what is accepted. */
export function changeMode(headers: GatewayHeaders): ChangeMode {
  const type = mediaType(headers);
  if (type === "application/cloudevents+json") return "structured";
  if (type === "application/cloudevents-batch+json") return "batch";
  const binary = Object.keys(headers).some((name) => name.startsWith("ce-"));
  if (binary && (type === "application/json" || type === "")) return "binary";
  throw new HeadwaterError(
    "CONTENT_TYPE_UNSUPPORTED",
    `the content type ${type === "" ? "is missing" : `"${type.slice(0, 100)}" is not supported here`}; send application/cloudevents+json, ` +
      "application/cloudevents-batch+json, or application/json with ce-* headers",
  );
}

/** Throws CONTENT_ENCODING_UNSUPPORTED naming what is accepted. */
export function contentEncoding(headers: GatewayHeaders): "identity" | "gzip" {
  const encoding = (headers["content-encoding"] ?? "").trim().toLowerCase();
  if (encoding === "" || encoding === "identity") return "identity";
  if (encoding === "gzip" || encoding === "x-gzip") return "gzip";
  throw new HeadwaterError(
    "CONTENT_ENCODING_UNSUPPORTED",
    `the content encoding "${encoding.slice(0, 100)}" is not supported; send gzip or identity`,
  );
}

/** In which form a client of this path wants its errors. */
export function answerForm(path: string, headers: GatewayHeaders): AnswerForm {
  const known = Object.hasOwn(routes, pathOf(path)) ? routes[pathOf(path)]?.route.kind : undefined;
  if (known !== "telemetry") return "problem";
  return mediaType(headers).endsWith("protobuf") ? "protobuf" : "json";
}

/** Throws what can be known of a request before its body is there; answers nothing that `accept` does not find again. */
export function checkDoor(request: { method: string; path: string; headers: GatewayHeaders }): GatewayRoute {
  const route = routeOf(request.method, request.path);
  if (route.kind === "livez") return route;
  if (route.kind === "telemetry") telemetryEncoding(request.headers);
  else changeMode(request.headers);
  contentEncoding(request.headers);
  return route;
}
