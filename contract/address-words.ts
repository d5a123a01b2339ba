/**
 * Sealed evidence must not depend on which ports were bound, or a recording would not give the same bytes on two machines. So the commands in
 * it name this platform by words, which are replaced where the commands are shown.
 */
import type { Incident } from "./incident.ts";
import type { Verdict } from "./verdict.ts";

/** Where a platform is reached, without a path. */
export interface Addresses {
  /** Takes telemetry. */
  readonly otlpUrl: string;
  readonly apiUrl: string;
}

/** What stands in a sealed command for each address. */
export const addressWords: Addresses = { otlpUrl: "{otlpUrl}", apiUrl: "{apiUrl}" };

/** The incident as people are shown it: its commands name real addresses. */
export function withAddresses(incident: Incident, addresses: Addresses): Incident {
  return { ...incident, verdicts: incident.verdicts.map((verdict) => verdictWithAddresses(verdict, addresses)) };
}

function verdictWithAddresses(verdict: Verdict, addresses: Addresses): Verdict {
  const blindSpots = verdict.result.blindSpots.map((spot) => ({
    ...spot,
    command: spot.command.replaceAll(addressWords.otlpUrl, addresses.otlpUrl).replaceAll(addressWords.apiUrl, addresses.apiUrl),
  }));
  return { ...verdict, result: { ...verdict.result, blindSpots } };
}
