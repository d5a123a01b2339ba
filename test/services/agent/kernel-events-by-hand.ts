/** Kernel events as the decoder makes them, with what a test does not care about filled in. */
import type {
  ConnectionClosed,
  ConnectionOpened,
  EndAddress,
  ProcessEvent,
  SyscallDetail,
  Turn,
} from "../../../services/agent/kernel-event.ts";

export function address(text: string): EndAddress {
  const colon = text.lastIndexOf(":");
  return { ip: text.slice(0, colon), port: Number(text.slice(colon + 1)), peerTgid: 0 };
}

const header = {
  atNs: 0,
  cookie: 0n,
  cgroup: 0n,
  tgid: 100,
  tid: 100,
  netns: 1,
  role: "unknown",
  transport: "tcp",
  direction: null,
  flags: 0,
} as const;

type Fields<T> = Partial<Omit<T, "local" | "remote" | "type">> & {
  readonly local?: string | EndAddress;
  readonly remote?: string | EndAddress;
};

function ends(fields: { readonly local?: string | EndAddress; readonly remote?: string | EndAddress }): {
  local: EndAddress;
  remote: EndAddress;
} {
  const read = (value: string | EndAddress | undefined) => (typeof value === "object" ? value : address(value ?? "10.0.0.1:1"));
  return { local: read(fields.local), remote: read(fields.remote) };
}

export function openedEvent(fields: Fields<ConnectionOpened> & { readonly type?: "listener" | "connection-opened" }): ConnectionOpened {
  return { ...header, type: "connection-opened", ...fields, ...ends(fields) };
}

export function closedEvent(fields: Fields<ConnectionClosed>): ConnectionClosed {
  return {
    ...header,
    type: "connection-closed",
    ...{ openedNs: 0, bytesSent: 0, bytesReceived: 0, retransmits: 0, roundTripUs: 0, error: 0, outcome: "closed" },
    ...fields,
    ...ends(fields),
  };
}

export function turnEvent(fields: Partial<Turn> & { readonly requestText: string; readonly responseText: string }): Turn {
  const { requestText, responseText, ...rest } = fields;
  const [request, response] = [Buffer.from(requestText, "latin1"), Buffer.from(responseText, "latin1")];
  return {
    ...header,
    type: "turn",
    ...{ requestNs: 0, responseNs: 0, requestBytes: request.length, responseBytes: response.length, sequence: 1, request, response },
    ...rest,
  };
}

export function processEvent(fields: Partial<ProcessEvent> & { readonly type: ProcessEvent["type"] }): ProcessEvent {
  return {
    ...header,
    ...{ parentTgid: 1, exitCode: 0, exitSignal: 0, childTgid: 0, startedNs: 0, command: "node", file: "", arguments: [] },
    ...fields,
  };
}

export function syscallEvent(fields: Partial<SyscallDetail>): SyscallDetail {
  return { ...header, type: "syscall", number: 257, result: 3, durationNs: 1_000, parentTgid: 1, command: "node", text: "", ...fields };
}
