/** A service takes ever more memory until the kernel kills it, and stays away until it is started again. */
import { type Fault, needsCallers, truthOfService } from "./fault.ts";

const pieceBytes = 8_388_608;
/** The limit is reached long before. */
const piecesMax = 64;

export const memoryLimit: Fault = {
  name: "memory-limit",
  change: null,
  hits: "service",
  rights: "root",
  variants: ["leak"],
  needs: needsCallers,
  range: () => ({ unit: "bytes left", mild: 67_108_864, severe: 25_165_824 }),
  truth: (shop, target) => [truthOfService(shop, target, "memory")],
  apply: (control, target, { magnitude }) => control.exhaustMemory(target.service, magnitude),
  undo: (control, target) => control.restart(target.service),
  mechanism: () => {
    const kept: Buffer[] = [];
    return {
      duringWork: async () => {
        if (kept.length < piecesMax) kept.push(Buffer.alloc(pieceBytes, kept.length + 1));
      },
    };
  },
};
