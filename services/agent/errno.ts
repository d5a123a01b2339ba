/** Names of the kernel's error numbers. */
import { constants } from "node:os";

/** What Node has no name for, has two names for, or only the kernel returns: a call that was interrupted, to be made again. */
const otherNames: Readonly<Record<number, string>> = {
  11: "EAGAIN",
  15: "ENOTBLK",
  95: "EOPNOTSUPP",
  108: "ESHUTDOWN",
  112: "EHOSTDOWN",
  117: "EUCLEAN",
  123: "ENOMEDIUM",
  126: "ENOKEY",
  130: "EOWNERDEAD",
  131: "ENOTRECOVERABLE",
  512: "ERESTARTSYS",
  513: "ERESTARTNOINTR",
  514: "ERESTARTNOHAND",
  516: "ERESTART_RESTARTBLOCK",
};
const errors: ReadonlyMap<number, string> = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
const errnoMax = 4_095;

/** `ENOENT` of a result that is an error, else null. */
export function errorName(result: number): string | null {
  if (result >= 0 || result < -errnoMax) return null;
  return otherNames[-result] ?? errors.get(-result) ?? `E${-result}`;
}
