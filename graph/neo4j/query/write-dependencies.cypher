// Writes new intervals of dependencies. `intervals` is what each partition knows; the other properties are that joined. Ends that nobody has
// told of yet are made as entities of which nothing is known.
// Parameters: $prefix text, $rows list of {source, target, properties}
// Returns: nothing
UNWIND $rows AS row
MERGE (source:HeadwaterEntity {prefix: $prefix, id: row.source})
MERGE (target:HeadwaterEntity {prefix: $prefix, id: row.target})
CREATE (source)-[dependency:HEADWATER_DEPENDS_ON {prefix: $prefix}]->(target)
SET dependency += row.properties
