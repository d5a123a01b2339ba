/** Waiting that can be stopped. */

/** Why a wait ended early: the shop is being stopped. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
}

/** Resolves at a moment (at once when it has passed); rejects with StoppedError when the signal comes first. */
export function sleepUntil(atMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new StoppedError("the shop is being stopped"));
    };
    const timer = setTimeout(
      () => {
        signal.removeEventListener("abort", stop);
        resolve();
      },
      Math.max(0, atMs - Date.now()),
    );
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
