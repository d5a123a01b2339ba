/** A new version is rolled out, and a share of its requests runs into an exception. */
import { type Fault, insideService, needsReach, truthOfService } from "./fault.ts";

interface Line {
  readonly price: { readonly amount: number };
}

/** What the new version does wrong: it reads a member of a line that is not there. */
function totalOf(lines: readonly (Line | undefined)[]): number {
  return lines.reduce((sum, line) => sum + (line as Line).price.amount, 0);
}

export const exceptionDeploy: Fault = {
  name: "exception-deploy",
  change: "deploy",
  hits: "service",
  rights: "none",
  variants: ["missing-member"],
  needs: needsReach,
  range: () => ({ unit: "share of requests", mild: 0.5, severe: 1 }),
  truth: (shop, target, changeId) => [
    ...(changeId === null ? [] : [{ type: "change" as const, id: changeId, kind: "deploy" as const }]),
    truthOfService(shop, target, "code-error"),
  ],
  ...insideService("exception-deploy"),
  mechanism: ({ magnitude, random }) => ({
    duringWork: async () => {
      totalOf(random.chance(magnitude) ? [undefined] : [{ price: { amount: 1 } }]);
    },
  }),
};
