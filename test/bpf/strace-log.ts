/** What strace wrote (`strace -f -o FILE`), by thread. */

export interface StraceCall {
  readonly name: string;
  /** -1 for an error, null where strace shows `?` or a pointer. */
  readonly result: number | null;
}

/** Calls by thread, in the order of their entries. */
export function parseStrace(log: string): Map<number, StraceCall[]> {
  const calls = new Map<number, StraceCall[]>();
  const add = (tid: number, call: StraceCall): void => {
    const own = calls.get(tid);
    if (own === undefined) calls.set(tid, [call]);
    else own.push(call);
  };
  for (const line of log.split("\n")) {
    const [, tidText, rest = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const tid = Number(tidText);
    const started = /^(\w+)\(/.exec(rest);
    if (started !== null) {
      add(tid, { name: started[1] ?? "", result: resultOf(rest) });
    }
    const own = calls.get(tid);
    if (/^<\.\.\. \w+ resumed>/.test(rest) && own !== undefined) {
      const last = own.pop();
      if (last !== undefined) own.push({ name: last.name, result: resultOf(rest) });
    }
  }
  return calls;
}

function resultOf(text: string): number | null {
  const found = / = (-?\d+)(?: [A-Z(<].*)?$/.exec(text)?.[1];
  return found === undefined ? null : Number(found);
}
