/** The reports of an incident; with a token they are fetched and saved, because a link cannot carry one. */
import { reportPath } from "../../client/client.ts";
import type { ReportFormat } from "../../contract/route.ts";
import { api, hasToken } from "../session.ts";

const formats: readonly (readonly [ReportFormat, string, string])[] = [
  ["html", "HTML", "text/html"],
  ["md", "Markdown", "text/markdown"],
  ["json", "JSON", "application/json"],
];

export function ReportLinks(props: { incident: string }) {
  return (
    <p class="links">
      Report:
      {formats.map(([format, word, type]) => (
        <a
          key={format}
          href={reportPath(props.incident, format)}
          onClick={(event) => {
            if (!hasToken()) return;
            event.preventDefault();
            void save(props.incident, format, type);
          }}
        >
          {word}
        </a>
      ))}
    </p>
  );
}

async function save(incident: string, format: ReportFormat, type: string): Promise<void> {
  const text = await api.report(incident, format);
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${incident}.${format}`;
  link.click();
  URL.revokeObjectURL(address);
}
