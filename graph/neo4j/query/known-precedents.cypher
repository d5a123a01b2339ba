// Which of these incidents are precedents already.
// Parameters: $prefix text, $incidents list of text
// Returns: incident
UNWIND $incidents AS incident
MATCH (precedent:HeadwaterPrecedent {prefix: $prefix, incident: incident})
USING INDEX SEEK precedent:HeadwaterPrecedent(prefix, incident)
RETURN precedent.incident AS incident
