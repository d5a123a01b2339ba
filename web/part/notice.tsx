/** What a screen shows instead of data, and beside them. */
import type { ComponentChildren } from "preact";

/** A failure, in the words of the API. */
export function Failure(props: { error: Error | null; what: string }) {
  if (props.error === null) return null;
  return (
    <p class="failure" role="alert">
      <strong>{props.what} could not be read.</strong> {props.error.message}
    </p>
  );
}

/** What is missing, and what brings it. */
export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children}
    </div>
  );
}

/** A place that is kept while data are on their way, so that nothing jumps when they come. */
export function Waiting(props: { what: string }) {
  return <p class="waiting">Reading {props.what} …</p>;
}
