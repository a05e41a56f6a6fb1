-- Upgrades version 2 to version 3: what the REST API searches, and its tokens.
ALTER TABLE actions ADD COLUMN counters TEXT;
CREATE INDEX signatures_investigator ON signatures (investigatorid);
CREATE INDEX commands_agentid ON commands (agentid);
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    -- Null for a signed token that may be used once.
    investigatorid INTEGER,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_expires ON tokens (expires);
