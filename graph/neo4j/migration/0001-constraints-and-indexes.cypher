// What is unique and what is found by an index. Installations that share a database each run this, so each statement may run twice.
// Parameters: none
// Returns: nothing

// One root for each installation; its version says which migrations have run, its lock puts writers in order.
CREATE CONSTRAINT headwater_graph_prefix IF NOT EXISTS
FOR (graph:HeadwaterGraph) REQUIRE graph.prefix IS UNIQUE;

CREATE CONSTRAINT headwater_entity_id IF NOT EXISTS
FOR (entity:HeadwaterEntity) REQUIRE (entity.prefix, entity.id) IS UNIQUE;

CREATE INDEX headwater_entity_seen IF NOT EXISTS
FOR (entity:HeadwaterEntity) ON (entity.prefix, entity.firstSeenMs);

// A dependency that ended and came back has several intervals, each a relationship. `validToMs` of one that is still in use is the largest
// integer that is exact everywhere, 9007199254740991, so that an index finds it.
CREATE CONSTRAINT headwater_dependency_interval IF NOT EXISTS
FOR ()-[dependency:HEADWATER_DEPENDS_ON]-() REQUIRE (dependency.prefix, dependency.id, dependency.validFromMs) IS UNIQUE;

CREATE INDEX headwater_dependency_begin IF NOT EXISTS
FOR ()-[dependency:HEADWATER_DEPENDS_ON]-() ON (dependency.prefix, dependency.validFromMs);

CREATE INDEX headwater_dependency_end IF NOT EXISTS
FOR ()-[dependency:HEADWATER_DEPENDS_ON]-() ON (dependency.prefix, dependency.validToMs);

CREATE CONSTRAINT headwater_precedent_incident IF NOT EXISTS
FOR (precedent:HeadwaterPrecedent) REQUIRE (precedent.prefix, precedent.incident) IS UNIQUE;

CREATE INDEX headwater_precedent_closed IF NOT EXISTS
FOR (precedent:HeadwaterPrecedent) ON (precedent.prefix, precedent.closedMs);

CREATE CONSTRAINT headwater_token IF NOT EXISTS
FOR (token:HeadwaterToken) REQUIRE (token.prefix, token.token) IS UNIQUE;
