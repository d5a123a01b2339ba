/** `headwater report`: one incident as HTML, Markdown or JSON, as the API renders it. */
import { writeFileSync } from "node:fs";
import { HeadwaterError } from "../../contract/error.ts";
import { reportFormats } from "../../contract/route.ts";
import { type ApiAddress, apiClient } from "./api-client.ts";
import { print } from "./output.ts";

export interface ReportOptions extends ApiAddress {
  /** Id, or the number with or without `INC-`. */
  readonly incident: string;
  readonly reportFormat: string;
  readonly outFile: string | null;
}

export async function runReport(options: ReportOptions): Promise<void> {
  const format = reportFormats.find((known) => known === options.reportFormat);
  if (format === undefined) {
    throw new HeadwaterError("REQUEST_INVALID", `unknown format ${options.reportFormat}; known are ${reportFormats.join(", ")}`);
  }
  const client = apiClient(options);
  const number = /^(?:INC-)?(\d{1,9})$/i.exec(options.incident)?.[1];
  const { items } = await client.call("incidents", { query: { limit: 1_000 } });
  const found = items.find((incident) => incident.id === options.incident || String(incident.number) === number);
  if (found === undefined)
    throw new HeadwaterError("NOT_FOUND", `there is no incident ${options.incident}; headwater incidents lists them`);
  const text = await client.report(found.id, format);
  if (options.outFile === null) print(text);
  else writeFileSync(options.outFile, text);
}
