/**
 * The one table of operational errors. `retriable` is decided here and obeyed by the queues; `status` is used by HTTP doors only.
 * `docs/errors.md` lists every code with cause and remedy; a test compares the two in both directions.
 */
export const errorTable = {
  CONFIG_INVALID: { retriable: false, status: 500, title: "The configuration is not valid" },
  NODE_TOO_OLD: { retriable: false, status: 500, title: "Node is too old" },
  PORT_IN_USE: { retriable: false, status: 500, title: "A port is in use" },
  DATA_DIRECTORY_LOCKED: { retriable: false, status: 500, title: "The data directory belongs to a running instance" },
  DATA_DIRECTORY_UNWRITABLE: { retriable: false, status: 500, title: "The data directory cannot be written" },
  DATA_VERSION_UNKNOWN: { retriable: false, status: 500, title: "The data were written by a newer version" },
  BODY_TOO_LARGE: { retriable: false, status: 413, title: "The body is too large" },
  BODY_MALFORMED: { retriable: false, status: 400, title: "The body is malformed" },
  BODY_TIMEOUT: { retriable: true, status: 408, title: "The body did not arrive in time" },
  CONTENT_TYPE_UNSUPPORTED: { retriable: false, status: 415, title: "The content type is not supported" },
  CONTENT_ENCODING_UNSUPPORTED: { retriable: false, status: 415, title: "The content encoding is not supported" },
  UNAUTHENTICATED: { retriable: false, status: 401, title: "A valid token is needed" },
  FORBIDDEN: { retriable: false, status: 403, title: "The token's role does not allow this" },
  NOT_FOUND: { retriable: false, status: 404, title: "Not found" },
  METHOD_NOT_ALLOWED: { retriable: false, status: 405, title: "The method is not allowed here" },
  REQUEST_INVALID: { retriable: false, status: 400, title: "The request is not valid" },
  CONFLICT: { retriable: true, status: 409, title: "Somebody else changed it first" },
  TRANSITION_REFUSED: { retriable: false, status: 409, title: "The incident's state does not allow this" },
  QUEUE_FULL: { retriable: true, status: 429, title: "The queue is full" },
  QUEUE_UNAVAILABLE: { retriable: true, status: 503, title: "The queue cannot be reached" },
  PAYLOAD_LOST: { retriable: false, status: 500, title: "The body of a message is gone" },
  LOG_UNAVAILABLE: { retriable: true, status: 503, title: "The partition log cannot be written" },
  BATCH_REDUCED: { retriable: false, status: 409, title: "The batch was reduced before" },
  PARTITION_HELD: { retriable: true, status: 409, title: "Another process owns the partition" },
  SERVER_UNSUITABLE: { retriable: false, status: 500, title: "A server cannot be used as it is" },
  SERVER_REFUSED: { retriable: false, status: 500, title: "A server refused our credentials" },
  DATA_FOREIGN: { retriable: false, status: 500, title: "Data under our name are not ours" },
  FENCED: { retriable: false, status: 409, title: "Another owner has taken the partition" },
  STORE_UNAVAILABLE: { retriable: true, status: 503, title: "A store cannot be reached" },
  GRAPH_UNAVAILABLE: { retriable: true, status: 503, title: "The graph cannot be reached" },
  STOPPING: { retriable: true, status: 503, title: "Headwater is stopping" },
  CASE_INVALID: { retriable: false, status: 400, title: "The case folder is not valid" },
  RECORDING_INVALID: { retriable: false, status: 400, title: "The recording is not valid" },
  GATEWAY_UNAVAILABLE: { retriable: true, status: 503, title: "The gateway cannot be reached" },
  KERNEL_UNAVAILABLE: { retriable: false, status: 503, title: "The kernel cannot be observed" },
  API_UNREACHABLE: { retriable: true, status: 503, title: "The API of a platform cannot be reached" },
  LAB_FAILED: { retriable: false, status: 500, title: "The lab could not be started" },
  DEMO_FAILED: { retriable: false, status: 500, title: "The demo did not reach a verdict" },
  INTERNAL: { retriable: false, status: 500, title: "Headwater made a mistake" },
} as const satisfies Record<string, { retriable: boolean; status: number; title: string }>;

export type ErrorCode = keyof typeof errorTable;

/**
 * An operational failure with a code from `errorTable`.
 * `message` is a sentence for people that names what is wrong and where; `cause` keeps the error it came from.
 */
export class HeadwaterError extends Error {
  override readonly name = "HeadwaterError";
  readonly code: ErrorCode;
  readonly retriable: boolean;
  readonly status: number;
  /** Seconds after which a client should try again, when that is known. */
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retriable = errorTable[code].retriable;
    this.status = errorTable[code].status;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

/** The error itself when it is one of ours, else `INTERNAL` around it. */
export function toHeadwaterError(error: unknown): HeadwaterError {
  if (error instanceof HeadwaterError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new HeadwaterError("INTERNAL", message, { cause: error });
}
