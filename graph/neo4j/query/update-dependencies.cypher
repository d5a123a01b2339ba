// Writes what has changed of intervals that are there.
// Parameters: $prefix text, $rows list of {id, validFromMs, properties}
// Returns: nothing
UNWIND $rows AS row
MATCH ()-[dependency:HEADWATER_DEPENDS_ON {prefix: $prefix, id: row.id, validFromMs: row.validFromMs}]->()
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, id, validFromMs)
SET dependency += row.properties
