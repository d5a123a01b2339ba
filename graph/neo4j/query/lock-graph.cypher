// Takes the lock of the root, so that whoever else writes to this installation's graph waits until this transaction is over.
// Parameters: $prefix text
// Returns: watermarksMs list of integer, entities, intervals, precedents integer
MATCH (graph:HeadwaterGraph {prefix: $prefix})
USING INDEX SEEK graph:HeadwaterGraph(prefix)
SET graph.writes = coalesce(graph.writes, 0) + 1
RETURN graph.watermarksMs AS watermarksMs, graph.entities AS entities, graph.intervals AS intervals, graph.precedents AS precedents
