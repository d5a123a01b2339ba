// Writes entities. The attributes beside `kept` are the newest; `changedMs` is when the newest of them began, so that an older moment is read from `kept`.
// Parameters: $prefix text, $rows list of {id, properties}
// Returns: nothing
UNWIND $rows AS row
MERGE (entity:HeadwaterEntity {prefix: $prefix, id: row.id})
SET entity += row.properties
