/** The box that narrows what a screen lists; the key `/` moves to it. */
export function SearchField(props: { what: string; search: string; onSearch: (search: string) => void }) {
  return (
    <label class="search">
      <span class="unseen">Search {props.what}</span>
      <input
        type="search"
        data-search
        placeholder={`Search ${props.what} ( / )`}
        value={props.search}
        onInput={(event) => props.onSearch(event.currentTarget.value)}
      />
    </label>
  );
}

/** Whether the text holds what was searched for, in whatever case; an empty search finds everything. */
export function isFound(text: string, search: string): boolean {
  return text.toLowerCase().includes(search.trim().toLowerCase());
}
