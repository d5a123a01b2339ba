/** What kind of entity a peer is that never tells of itself, from its address key (`host:port`, `system@host:port`, or a name). */
import type { EntityType } from "../../contract/entity.ts";

const brokers: ReadonlySet<string> = new Set([
  ...["kafka", "rabbitmq", "amqp", "nats", "pulsar", "activemq", "artemis", "rocketmq", "jms", "mqtt", "zeromq", "stomp"],
  ...["aws_sqs", "aws.sqs", "aws_sns", "aws.sns", "kinesis", "gcp_pubsub", "servicebus", "eventhubs", "eventgrid"],
]);

/** Systems that are recognised without an address, too; a name like these alone is no host of ours. */
const datastores: ReadonlySet<string> = new Set([
  ...["postgresql", "mysql", "mariadb", "mongodb", "redis", "memcached", "cassandra", "elasticsearch", "opensearch", "clickhouse"],
  ...["mssql", "microsoft.sql_server", "oracle", "oracle.db", "sqlite", "dynamodb", "aws.dynamodb", "cosmosdb", "azure.cosmosdb"],
  ...["couchbase", "couchdb", "neo4j", "influxdb", "cockroachdb", "hbase", "db2", "snowflake", "spanner", "gcp.spanner", "other_sql"],
]);

/**
 * `datastore` and `broker` peers have no server side of their own, so a call to one is complete at once; `external` is said of everything
 * else, and only once nobody was found behind it.
 */
export function peerType(peer: string): EntityType {
  const at = peer.indexOf("@");
  const system = at < 0 ? peer : peer.slice(0, at);
  if (brokers.has(system)) return "broker";
  return at > 0 || datastores.has(system) ? "datastore" : "external";
}

/**
 * What kind of entity one is that tells of itself. The agent names a datastore or broker that it sees listening by its address key, as those
 * who call it do.
 */
export function ownType(entity: string): EntityType {
  const system = entity.slice(0, Math.max(0, entity.indexOf("@")));
  if (brokers.has(system)) return "broker";
  return datastores.has(system) ? "datastore" : "service";
}
