/** Data of the API on a screen: what was read stays visible while it is read again. */
import { useEffect, useRef, useState } from "preact/hooks";

export interface Resource<T> {
  /** The newest answer, or null before the first. */
  readonly data: T | null;
  /** Why the newest attempt failed; the data before it stay. */
  readonly error: Error | null;
}

/**
 * Reads once per `key`, and again whenever `tick` moves. Another key begins empty; answers that come too late are dropped.
 */
export function useResource<T>(key: string, tick: unknown, load: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const [state, setState] = useState<Resource<T> & { key: string }>({ key, data: null, error: null });
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    latest.current(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ key, data, error: null });
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        const failure = error instanceof Error ? error : new Error(String(error));
        setState((before) => ({ key, data: before.key === key ? before.data : null, error: failure }));
      },
    );
    return () => abort.abort();
  }, [key, tick]);
  return state.key === key ? state : { data: null, error: null };
}
