/**
 * The one place where paging is decided (design §8). An anomaly alone never comes here.
 * What it decides today is all it can decide: holding, inhibiting and silencing need the ledger and come with it.
 */

/** What asks for a page. */
export type PageOccasion = "incident-opened" | "incident-reopened" | "alert-joined";

/** `page` wakes a person; `group` does not, because the incident that the alert joined already has. */
export type PageReason = "page" | "group";

export interface PageDecision {
  readonly paged: "yes" | "no";
  readonly reason: PageReason;
}

export function decidePage(occasion: PageOccasion): PageDecision {
  return occasion === "alert-joined" ? { paged: "no", reason: "group" } : { paged: "yes", reason: "page" };
}
