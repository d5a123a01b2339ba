import { eventNumbers } from "./event-layout.generated.ts";

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(eventNumbers)
    .filter(([name]) => name.startsWith("HW_LOSS_") && name !== "HW_LOSS_COUNT")
    .map(([name, number]) => [number, `kernel-${name.slice("HW_LOSS_".length).toLowerCase().replaceAll("_", "-")}`]),
);

/** A place of `enum hw_loss` as it is counted: `kernel-detail-ring`. */
export function lossName(where: number): string {
  return names.get(where) ?? `kernel-loss-${where}`;
}
