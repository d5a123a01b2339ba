// Writes precedents without their tokens, and takes off the tokens of an earlier version.
// Parameters: $prefix text, $rows list of {incident, properties}
// Returns: nothing
UNWIND $rows AS row
MERGE (precedent:HeadwaterPrecedent {prefix: $prefix, incident: row.incident})
SET precedent += row.properties
WITH precedent
MATCH (precedent)-[shows:HEADWATER_SHOWED]->(token)
DELETE shows
WITH DISTINCT token
WHERE NOT EXISTS { (token)<-[:HEADWATER_SHOWED]-() }
DELETE token
