/** Times on the page. */
import { useEffect, useState } from "preact/hooks";
import { formatRelative, formatTime } from "../format.ts";

/** The time now, moving every few seconds, so that "6 min ago" stays true. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** Absolute with the relative one beside; UTC on hover. */
export function Time(props: { at: number; now: number }) {
  const iso = new Date(props.at).toISOString();
  return (
    <time dateTime={iso} title={`${iso.replace("T", " ").replace("Z", "")} UTC`}>
      {formatTime(props.at, props.now)} <span class="aside">{formatRelative(props.at, props.now)}</span>
    </time>
  );
}
