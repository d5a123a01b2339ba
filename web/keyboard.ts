/** The keys of the page: rows carry `data-row`, buttons `data-key`, the search field `data-search`. */

/** Listens until the answer is called; `onHelp` for `?`. */
export function watchKeys(onHelp: () => void): () => void {
  const onKey = (event: KeyboardEvent): void => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const target = event.target;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
    if (typing) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (act(event.key, onHelp)) event.preventDefault();
  };
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}

function act(key: string, onHelp: () => void): boolean {
  if (key === "j") return moveRow(1);
  if (key === "k") return moveRow(-1);
  if (key === "a" || key === "r") return press(`[data-key="${key}"]`);
  if (key === "/") return focus("[data-search]");
  if (key === "?") {
    onHelp();
    return true;
  }
  return false;
}

function moveRow(step: 1 | -1): boolean {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
  const current = rows.indexOf(document.activeElement as HTMLElement);
  const next = current === -1 ? (step === 1 ? 0 : rows.length - 1) : current + step;
  rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
  return rows.length > 0;
}

function press(selector: string): boolean {
  const button = document.querySelector<HTMLButtonElement>(selector);
  if (button === null || button.disabled) return false;
  button.click();
  return true;
}

function focus(selector: string): boolean {
  const field = document.querySelector<HTMLElement>(selector);
  field?.focus();
  return field !== null;
}
