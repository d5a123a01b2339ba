/** Errors of the API as RFC 9457 problem+json: code and status from the one error table, never a stack trace. */
import type { Response } from "express";
import type { z } from "zod";
import { errorTable, HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import type { Problem } from "../../contract/route.ts";

const instanceLengthMax = 512;
const errorsMax = 20;

/** REQUEST_INVALID with the place of each mistake, e.g. `query.limit`. At most 20 places are named. */
export class RequestInvalid extends HeadwaterError {
  readonly errors: readonly { path: string; message: string }[];

  constructor(errors: readonly { path: string; message: string }[]) {
    const named = errors.slice(0, errorsMax);
    super("REQUEST_INVALID", named.map((error) => `${error.path}: ${error.message}`).join("; "));
    this.errors = named;
  }
}

/** What zod refused in one part of a request (`params`, `query` or `body`). */
export function requestInvalid(part: string, error: z.ZodError): RequestInvalid {
  return new RequestInvalid(error.issues.map((issue) => ({ path: [part, ...issue.path.map(String)].join("."), message: issue.message })));
}

/** What express and its body parser throw, in our words; everything else as `toHeadwaterError` has it. */
export function toApiError(error: unknown): HeadwaterError {
  if (error instanceof HeadwaterError) return error;
  const type = (error as { type?: unknown } | null)?.type;
  if (type === "entity.too.large") return new HeadwaterError("BODY_TOO_LARGE", "The body is larger than this API reads");
  if (type === "entity.parse.failed") return new HeadwaterError("BODY_MALFORMED", "The body is not valid JSON");
  if (type === "encoding.unsupported") return new HeadwaterError("CONTENT_ENCODING_UNSUPPORTED", "Send identity, gzip, deflate or br");
  if (type === "charset.unsupported") return new HeadwaterError("CONTENT_TYPE_UNSUPPORTED", "Send JSON in UTF-8");
  if (error instanceof URIError) return new HeadwaterError("REQUEST_INVALID", "The path has a malformed percent-encoding");
  const status = (error as { status?: unknown } | null)?.status;
  if (typeof status === "number" && status >= 400 && status < 500) {
    return new HeadwaterError("BODY_MALFORMED", "The body could not be read");
  }
  return toHeadwaterError(error);
}

/** The problem document of an error. An internal error says nothing of its inside; the log does. */
function problemOf(error: HeadwaterError, instance: string): Problem {
  const detail = error.code === "INTERNAL" ? "Headwater made a mistake; its log has the details." : error.message;
  return {
    type: `urn:headwater:error:${error.code}`,
    title: errorTable[error.code].title,
    status: error.status,
    detail,
    instance: instance.slice(0, instanceLengthMax),
    code: error.code,
    ...(error instanceof RequestInvalid ? { errors: [...error.errors] } : {}),
  };
}

/** Answers with the problem, unless the answer has begun: then the connection is cut, so that nobody takes a part for the whole. */
export function sendProblem(response: Response, error: HeadwaterError, instance: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error.retryAfterSeconds !== null) response.setHeader("Retry-After", String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  if (error.code === "UNAUTHENTICATED") response.setHeader("WWW-Authenticate", 'Bearer realm="headwater"');
  response.setHeader("Cache-Control", "no-store");
  response
    .status(error.status)
    .type("application/problem+json")
    .send(JSON.stringify(problemOf(error, instance)));
}
