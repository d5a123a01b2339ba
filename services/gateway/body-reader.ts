/** Reads a request body from a socket within its bounds: bytes, decompressed bytes, time, and bytes of all bodies together. */
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { createGunzip, gunzip } from "node:zlib";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";

interface BodyReaderOptions {
  readonly clock: Clock;
  readonly bodyBytesMax: number;
  readonly bodyTimeoutMs: number;
  /** Bytes of all bodies that are being read or handled. */
  readonly bytesInFlightMax: number;
}

/** A body that was read. `release` gives its bytes back to the common bound. */
interface ReadBody {
  readonly bytes: Buffer<ArrayBuffer>;
  release(): void;
}

export class BodyReader {
  #options: BodyReaderOptions;
  #bytesInFlight = 0;

  constructor(options: BodyReaderOptions) {
    this.#options = options;
  }

  /**
   * Throws BODY_TOO_LARGE, BODY_TIMEOUT, BODY_MALFORMED (gzip), QUEUE_FULL when too much is in flight; never holds more than the bounds.
   * What arrives after an error is for the caller to discard.
   */
  async read(request: IncomingMessage, encoding: "identity" | "gzip"): Promise<ReadBody> {
    const { bodyBytesMax } = this.#options;
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > bodyBytesMax) throw tooLarge("the body", bodyBytesMax);
    let held = 0;
    const take = (amount: number) => {
      this.#takeBytes(amount);
      held += amount;
    };
    const release = () => {
      this.#bytesInFlight -= held;
      held = 0;
    };
    try {
      return { bytes: await this.#collect(request, encoding, take), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #takeBytes(amount: number): void {
    if (this.#bytesInFlight + amount > this.#options.bytesInFlightMax) {
      throw new HeadwaterError("QUEUE_FULL", "too many bodies are being received at once", { retryAfterSeconds: 1 });
    }
    this.#bytesInFlight += amount;
  }

  #collect(request: IncomingMessage, encoding: "identity" | "gzip", take: (amount: number) => void): Promise<Buffer<ArrayBuffer>> {
    const { clock, bodyBytesMax, bodyTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const unzip = encoding === "gzip" ? createGunzip() : null;
      let received = 0;
      let decoded = 0;
      const finish = (error: HeadwaterError | null) => {
        cancelTimer();
        request.removeListener("data", onData).removeListener("end", onEnd).removeListener("close", onClose);
        unzip?.removeAllListeners("data").removeAllListeners("end");
        if (error === null) resolve(Buffer.concat(chunks));
        else {
          unzip?.destroy();
          reject(error);
        }
      };
      const keep = (chunk: Buffer) => {
        decoded += chunk.length;
        if (decoded > bodyBytesMax) {
          finish(tooLarge(encoding === "gzip" ? "the decompressed body" : "the body", bodyBytesMax));
          return;
        }
        try {
          take(chunk.length);
          chunks.push(chunk);
        } catch (error) {
          finish(error as HeadwaterError);
        }
      };
      const onData = (chunk: Buffer) => {
        received += chunk.length;
        if (unzip === null) keep(chunk);
        else if (received > bodyBytesMax) finish(tooLarge("the body", bodyBytesMax));
        else if (!unzip.write(chunk)) {
          request.pause();
          unzip.once("drain", () => request.resume());
        }
      };
      const onEnd = () => (unzip === null ? finish(null) : unzip.end());
      const onClose = () => {
        if (!request.complete) finish(new HeadwaterError("BODY_MALFORMED", "the connection ended before the body was complete"));
      };
      const cancelTimer = clock.schedule(bodyTimeoutMs, () =>
        finish(new HeadwaterError("BODY_TIMEOUT", `the body did not arrive within ${bodyTimeoutMs} ms (${received} bytes did)`)),
      );
      request.on("data", onData).on("end", onEnd).on("close", onClose);
      unzip?.on("data", keep).on("end", () => finish(null));
      unzip?.on("error", (error) => finish(gzipBroken(error)));
    });
  }
}

/** Decompresses a whole body, at most `bodyBytesMax` bytes. Throws BODY_TOO_LARGE, BODY_MALFORMED. */
export function unzipBody(body: Uint8Array, bodyBytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    gunzip(body, { maxOutputLength: bodyBytesMax }, (error, bytes) => {
      if (error === null) resolve(Uint8Array.from(bytes));
      else if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") reject(tooLarge("the decompressed body", bodyBytesMax));
      else reject(gzipBroken(error));
    });
  });
}

function tooLarge(what: string, bytesMax: number): HeadwaterError {
  return new HeadwaterError(
    "BODY_TOO_LARGE",
    `${what} is larger than ${bytesMax} bytes; send smaller batches or raise gateway.bodyBytesMax`,
  );
}

function gzipBroken(error: Error): HeadwaterError {
  return new HeadwaterError("BODY_MALFORMED", `the body is not valid gzip: ${error.message}`, { cause: error });
}
