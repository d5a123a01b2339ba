/** The configuration of the lab: 1 s windows, durations of design §8 divided by 60, ports of its own. */
interface LabSpec {
  readonly dataDirectory: string;
  readonly logLevel: "warn";
  readonly timeScale: number;
  readonly window: { readonly windowMs: number; readonly settleMs: number; readonly sourceSilentMs: number; readonly amendMs: number };
  readonly gateway: { readonly port: number };
  readonly api: { readonly port: number };
  /** A lab runs its own beside the shop, where it is asked for. */
  readonly agent: { readonly enabled: "no" };
}

export function labSpec(dataDirectory: string): LabSpec {
  return {
    dataDirectory,
    logLevel: "warn",
    timeScale: 60,
    window: { windowMs: 1_000, settleMs: 1_000, sourceSilentMs: 3_000, amendMs: 30_000 },
    gateway: { port: 0 },
    api: { port: 0 },
    agent: { enabled: "no" },
  };
}
