/** A command that can be copied. */
import { useState } from "preact/hooks";

export function Command(props: { text: string }) {
  const [copied, setCopied] = useState<"yes" | "no">("no");
  const copy = (): void => {
    void navigator.clipboard.writeText(props.text).then(() => setCopied("yes"));
  };
  return (
    <div class="command">
      <pre>
        <code>{props.text}</code>
      </pre>
      {/* Browsers give the clipboard to secure pages only; elsewhere the text is selected by hand. */}
      {navigator.clipboard === undefined ? null : (
        <button type="button" onClick={copy} aria-label={`Copy: ${props.text.slice(0, 80)}`}>
          {copied === "yes" ? "Copied" : "Copy"}
        </button>
      )}
    </div>
  );
}
