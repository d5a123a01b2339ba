/** What every long-running command has: a name for this life of the process, and its end. */

/** Gateway ids differ between starts, so that batch numbers of two lives of a process never meet. */
export function newGatewayId(): string {
  return `g${Date.now().toString(36)}${process.pid.toString(36)}`;
}

/** Resolves at SIGINT or SIGTERM; a second signal ends the process the hard way. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const once = (): void => {
      process.once("SIGINT", () => process.exit(130));
      process.once("SIGTERM", () => process.exit(143));
      resolve();
    };
    process.once("SIGINT", once);
    process.once("SIGTERM", once);
  });
}
