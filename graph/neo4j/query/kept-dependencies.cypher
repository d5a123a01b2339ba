// The intervals of dependencies that overlap or touch what was reported, to merge that into them.
// Parameters: $prefix text, $rows list of {id, fromMs, toMs}
// Returns: id, validFromMs integer, intervals text (JSON)
UNWIND $rows AS row
MATCH ()-[dependency:HEADWATER_DEPENDS_ON {prefix: $prefix, id: row.id}]->()
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, id, validFromMs)
WHERE dependency.validFromMs <= row.toMs AND dependency.validToMs >= row.fromMs
RETURN DISTINCT dependency.id AS id, dependency.validFromMs AS validFromMs, dependency.intervals AS intervals
