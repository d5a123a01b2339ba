/** A graph that every partition has told of. */
import { allPartitions } from "../../contract/canonical.ts";
import type { GraphDelta, GraphStore } from "../../contract/port.ts";

/** Tells the graph all of it in one partition, and that every partition is as far. */
export async function tellWholeGraph(graph: GraphStore, whole: Omit<GraphDelta, "partition">): Promise<void> {
  for (const partition of allPartitions)
    await graph.apply({ partition, ...(partition === 0 ? whole : { ...whole, entities: [], dependencies: [] }) });
}
