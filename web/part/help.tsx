/** The keys, on `?`. */
import { useEffect, useRef } from "preact/hooks";

const keys: readonly (readonly [string, string])[] = [
  ["j  k", "next, previous in a list"],
  ["Enter", "open it"],
  ["a", "acknowledge the incident"],
  ["r", "resolve it (asks once more)"],
  ["/", "search"],
  ["?", "these keys"],
  ["Esc", "close, leave a field"],
];

export function Help(props: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={props.onClose} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <dl class="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <h2>Shapes</h2>
      <p>◆ cause · ■ critical failure · ● impact · ○ healthy · ▼ change</p>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}
