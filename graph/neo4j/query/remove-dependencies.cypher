// Removes intervals that have become part of others.
// Parameters: $prefix text, $rows list of {id, validFromMs}
// Returns: nothing
UNWIND $rows AS row
MATCH ()-[dependency:HEADWATER_DEPENDS_ON {prefix: $prefix, id: row.id, validFromMs: row.validFromMs}]->()
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, id, validFromMs)
DELETE dependency
