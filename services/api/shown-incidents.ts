/** The incidents as they are shown: commands in their verdicts name the addresses of this platform. */
import { type Addresses, withAddresses } from "../../contract/address-words.ts";
import type { IncidentIndex } from "./incident-index.ts";

export function shownIncidents(incidents: IncidentIndex, addresses: () => Addresses): IncidentIndex {
  return {
    start: () => incidents.start(),
    load: async (id) => {
      const incident = await incidents.load(id);
      return incident === null ? null : withAddresses(incident, addresses());
    },
    events: (id) => incidents.events(id),
    list: () => incidents.list(),
    refresh: () => incidents.refresh(),
    stop: () => incidents.stop(),
  };
}
