import type { Ending, Exchange, OpenRequest, Side } from "./exchange.ts";
import { FramedParser } from "./framed-parser.ts";
import type { OperationNames } from "./operation-names.ts";
import { readInt32 } from "./postgres-message.ts";

interface KafkaRequest {
  readonly operation: string;
  readonly startNs: number;
  readonly requestBytes: number;
  readonly key: number;
  readonly version: number;
}

/** By api key. */
const names: readonly string[] = [
  ...["Produce", "Fetch", "ListOffsets", "Metadata", "LeaderAndIsr", "StopReplica", "UpdateMetadata", "ControlledShutdown"],
  ...["OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup", "SyncGroup", "DescribeGroups"],
  ...["ListGroups", "SaslHandshake", "ApiVersions", "CreateTopics", "DeleteTopics", "DeleteRecords", "InitProducerId"],
  ...["OffsetForLeaderEpoch", "AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "WriteTxnMarkers", "TxnOffsetCommit", "DescribeAcls"],
  ...["CreateAcls", "DeleteAcls", "DescribeConfigs", "AlterConfigs", "AlterReplicaLogDirs", "DescribeLogDirs", "SaslAuthenticate"],
  ...["CreatePartitions", "CreateDelegationToken", "RenewDelegationToken", "ExpireDelegationToken", "DescribeDelegationToken"],
  ...["DeleteGroups", "ElectLeaders", "IncrementalAlterConfigs", "AlterPartitionReassignments", "ListPartitionReassignments"],
  ...["OffsetDelete", "DescribeClientQuotas", "AlterClientQuotas", "DescribeUserScramCredentials", "AlterUserScramCredentials"],
  ...["Vote", "BeginQuorumEpoch", "EndQuorumEpoch", "DescribeQuorum", "AlterPartition", "UpdateFeatures", "Envelope", "FetchSnapshot"],
  ...["DescribeCluster", "DescribeProducers", "BrokerRegistration", "BrokerHeartbeat", "UnregisterBroker", "DescribeTransactions"],
  ...["ListTransactions", "AllocateProducerIds", "ConsumerGroupHeartbeat", "ConsumerGroupDescribe"],
];
const keyMax = 100;
const versionMax = 30;
const messageBytesMax = 104_857_600;
const clientIdBytesMax = 512;
/** Bytes of a request and of an answer that have to be seen. */
const requestWanted = 96;
const responseWanted = 96;

const produce = 0;
/** Fetch, JoinGroup and SyncGroup are answered when there is something to say. */
const waitingCalls = new Set([1, 11, 14]);
/**
 * Where the first error code of an answer stands, for the few calls whose code comes early: `code`, or behind the time of throttling from a
 * version on. `flexible`: from this version on the header of the answer has tagged fields (a zero byte when there are none).
 */
const errorPlaces: Readonly<Record<number, { throttledFrom: number; flexible: number; firstVersion: number }>> = {
  1: { throttledFrom: 0, flexible: 12, firstVersion: 7 },
  10: { throttledFrom: 1, flexible: 3, firstVersion: 0 },
  11: { throttledFrom: 2, flexible: 6, firstVersion: 0 },
  12: { throttledFrom: 1, flexible: 4, firstVersion: 0 },
  13: { throttledFrom: 1, flexible: 4, firstVersion: 0 },
  14: { throttledFrom: 1, flexible: 4, firstVersion: 0 },
  17: { throttledFrom: 99, flexible: 99, firstVersion: 0 },
  // Its answer always has the old header, so that clients can read it before they know versions.
  18: { throttledFrom: 99, flexible: 99, firstVersion: 0 },
  22: { throttledFrom: 0, flexible: 2, firstVersion: 0 },
  26: { throttledFrom: 0, flexible: 3, firstVersion: 0 },
  36: { throttledFrom: 99, flexible: 2, firstVersion: 0 },
};
/** Group rebalancing and asking for an id are the ordinary course. */
const ordinaryErrors = new Set([0, 27, 79]);

/**
 * Kafka: pairs by correlation id, operation by api key. The error code is read where it is cheap: Produce (first partition), Fetch from
 * version 7, group and transaction calls, ApiVersions, SASL; elsewhere the status is `0`. A Produce without acknowledgement has no answer
 * and is an exchange that ends when it begins.
 */
export class KafkaParser extends FramedParser<KafkaRequest> {
  readonly protocol = "kafka";
  readonly #operations: OperationNames;

  constructor(options: { start: "beginning" | "middle"; operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
  }

  protected read(side: Side, atNs: number, into: Exchange[]): boolean {
    const stream = side === "request" ? this.requests : this.responses;
    const wanted = side === "request" ? requestWanted : responseWanted;
    while (stream.at < stream.end) {
      if (stream.available < 4) return true;
      const length = readInt32(stream.data, stream.at);
      if (length < 4 || length > messageBytesMax) return false;
      if (stream.available < 4 + Math.min(length, wanted) && stream.hidden === 0) return true;
      const end = Math.min(stream.end, stream.at + 4 + length);
      const seen = { from: stream.at + 4, to: end, bytes: length + 4, atNs };
      const ok = side === "request" ? this.#request(seen, into) : this.#response(seen, into);
      if (!ok) return false;
      stream.skip(length + 4);
    }
    return true;
  }

  protected begins(side: Side, data: Uint8Array): boolean {
    if (side === "request") return beginsKafkaRequest(data);
    return data.length >= 8 && this.pending.has(readInt32(data, 4));
  }

  protected strayed(): void {
    // Messages stand for themselves.
  }

  protected override unanswered(request: KafkaRequest, ending: Ending): OpenRequest | null {
    return waitingCalls.has(request.key) ? null : super.unanswered(request, ending);
  }

  #request(seen: Seen, into: Exchange[]): boolean {
    const { data } = this.requests;
    const { from, to } = seen;
    if (to - from < 10) return to < from + 10 && this.requests.hidden > 0;
    const key = readInt16(data, from);
    const version = readInt16(data, from + 2);
    if (key < 0 || key > keyMax || version < 0 || version > versionMax) return false;
    const correlation = readInt32(data, from + 4);
    const operation = this.#operations.name(names[key] ?? "other");
    const request: KafkaRequest = { operation, startNs: seen.atNs, requestBytes: seen.bytes, key, version };
    if (key === produce && acknowledgements(data, { from, to, version }) === 0) {
      into.push(exchange(request, { status: "0", failed: "no", atNs: seen.atNs, bytes: 0 }));
      return true;
    }
    this.accept(correlation, request);
    return true;
  }

  #response(seen: Seen, into: Exchange[]): boolean {
    const { data } = this.responses;
    if (seen.to - seen.from < 4) return this.responses.hidden > 0;
    const request = this.take(readInt32(data, seen.from));
    if (request === undefined) return true;
    const code = errorCode(data, seen, request);
    into.push(
      exchange(request, { status: String(code), failed: ordinaryErrors.has(code) ? "no" : "yes", atNs: seen.atNs, bytes: seen.bytes }),
    );
    return true;
  }
}

interface Seen {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
  readonly atNs: number;
}

/** The bytes begin with the header of a Kafka request: length, key, version, correlation, client id. */
export function beginsKafkaRequest(data: Uint8Array): boolean {
  if (data.length < 14) return false;
  const length = readInt32(data, 0);
  const key = readInt16(data, 4);
  const version = readInt16(data, 6);
  const clientId = readInt16(data, 12);
  if (length < 10 || length > messageBytesMax || key < 0 || key > keyMax || version < 0 || version > versionMax) return false;
  if (readInt32(data, 8) < 0 || clientId < -1 || clientId > Math.min(clientIdBytesMax, length - 10)) return false;
  for (let at = 14; at < Math.min(data.length, 14 + clientId); at += 1) {
    const byte = data[at] ?? 0;
    if (byte < 32 || byte > 126) return false;
  }
  return true;
}

function exchange(request: KafkaRequest, answer: { status: string; failed: "yes" | "no"; atNs: number; bytes: number }): Exchange {
  return {
    protocol: "kafka",
    operation: request.operation,
    status: answer.status,
    failed: answer.failed,
    startNs: request.startNs,
    endNs: answer.atNs,
    requestBytes: request.requestBytes,
    responseBytes: answer.bytes,
  };
}

/** `acks` of a Produce, -2 where it was not captured. */
function acknowledgements(data: Uint8Array, request: { from: number; to: number; version: number }): number {
  const { from, to, version } = request;
  let at = from + 10 + Math.max(0, readInt16(data, from + 8));
  if (version >= 9) {
    if (data[at] !== 0) return -2;
    at += 1;
    at += 1 + Math.max(0, (data[at] ?? 0) - 1);
  } else if (version >= 3) {
    at += 2 + Math.max(0, readInt16(data, at));
  }
  return at + 2 <= to ? readInt16(data, at) : -2;
}

/** The first error code of an answer, 0 where it stands too deep or was not captured. */
function errorCode(data: Uint8Array, seen: Seen, request: KafkaRequest): number {
  const at = request.key === produce ? produceError(data, seen.from + 4, request.version) : errorPlace(seen.from + 4, request);
  return at < 0 || at + 2 > seen.to ? 0 : readInt16(data, at);
}

function errorPlace(body: number, request: KafkaRequest): number {
  const place = errorPlaces[request.key];
  if (place === undefined || request.version < place.firstVersion) return -1;
  const tags = request.version >= place.flexible ? 1 : 0;
  return body + tags + (request.version >= place.throttledFrom ? 4 : 0);
}

/** Topics, first name, partitions, first index, then its code. */
function produceError(data: Uint8Array, body: number, version: number): number {
  if (version >= 9) {
    if ((data[body + 1] ?? 0) < 2) return -1;
    // From version 13 on a topic is an id of 16 bytes.
    const partitions = body + 2 + (version >= 13 ? 16 : Math.max(1, data[body + 2] ?? 1));
    return (data[partitions] ?? 0) < 2 ? -1 : partitions + 1 + 4;
  }
  if (readInt32(data, body) < 1) return -1;
  const partitions = body + 4 + 2 + Math.max(0, readInt16(data, body + 4));
  return readInt32(data, partitions) < 1 ? -1 : partitions + 4 + 4;
}

function readInt16(data: Uint8Array, at: number): number {
  return (((data[at] ?? 0) << 24) >> 16) | (data[at + 1] ?? 0);
}
