// Gives precedents their tokens.
// Parameters: $prefix text, $rows list of {incident, tokens list of text}
// Returns: nothing
UNWIND $rows AS row
MATCH (precedent:HeadwaterPrecedent {prefix: $prefix, incident: row.incident})
USING INDEX SEEK precedent:HeadwaterPrecedent(prefix, incident)
UNWIND row.tokens AS text
MERGE (token:HeadwaterToken {prefix: $prefix, token: text})
CREATE (precedent)-[:HEADWATER_SHOWED]->(token)
