/** What a queue tells about itself when metrics are scraped. */

/** What both adapters can tell beside the port, by `<topic>.<reader>`. */
export interface ObservableQueue {
  /** Messages waiting, between attempts, or in a handler. Throws QUEUE_UNAVAILABLE. */
  depths(): Promise<ReadonlyMap<string, number>>;
  /** Dead letters held. Throws QUEUE_UNAVAILABLE. */
  deadLettersHeld(): Promise<ReadonlyMap<string, number>>;
}

interface Gauge {
  set(labels: { topic: string; reader: string }, value: number): void;
  reset(): void;
}

interface GaugeMaker {
  gauge(name: string, help: string, labels: readonly string[]): Gauge;
}

/**
 * Registers the gauges `headwater_queue_depth` and `headwater_queue_dead_letters`, by topic and reader; both are asked for at each scrape.
 * While the queue cannot be reached they have no value: an old depth would be taken for the depth of now.
 */
export function queueMetrics(queue: ObservableQueue, metrics: GaugeMaker): void {
  const labels = ["topic", "reader"];
  const depth = metrics.gauge("headwater_queue_depth", "Messages waiting or in a handler, by topic and reader", labels);
  const letters = metrics.gauge(
    "headwater_queue_dead_letters",
    "Messages that could not be handled and are kept, by topic and reader",
    labels,
  );
  collectBy(depth, () => queue.depths());
  collectBy(letters, () => queue.deadLettersHeld());
}

function collectBy(gauge: Gauge, ask: () => Promise<ReadonlyMap<string, number>>): void {
  const collect = async (): Promise<void> => {
    const values = await ask().catch(() => new Map<string, number>());
    gauge.reset();
    for (const [name, value] of values) {
      const [topic = "", reader = ""] = name.split(".");
      gauge.set({ topic, reader }, value);
    }
  };
  // prom-client calls `collect` of a metric, when it has one, before it reads the metric's values.
  Object.assign(gauge, { collect });
}
