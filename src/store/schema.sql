-- The embedded store. Times are microseconds since 1970 (UTC), JSON is text; the columns are named like the fields in
-- spool-layout/FORMAT.md.
CREATE TABLE sequences (name TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;

CREATE TABLE agents (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    queueloc TEXT NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    pid INTEGER NOT NULL,
    starttime INTEGER NOT NULL,
    destructiontime INTEGER NOT NULL,
    heartbeattime INTEGER NOT NULL,
    status TEXT NOT NULL,
    environment TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (queueloc, pid)
) STRICT;
CREATE INDEX agents_heartbeattime ON agents (status, heartbeattime);

CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    description TEXT NOT NULL,
    threat TEXT NOT NULL,
    operations TEXT NOT NULL,
    validfrom INTEGER NOT NULL,
    expireafter INTEGER NOT NULL,
    starttime INTEGER NOT NULL,
    finishtime INTEGER NOT NULL,
    lastupdatetime INTEGER NOT NULL,
    status TEXT NOT NULL,
    syntaxversion INTEGER NOT NULL,
    pgpsignatures TEXT NOT NULL,
    -- The scheduler that began it; empty if it was restored from an answer.
    owner TEXT NOT NULL DEFAULT '',
    -- Whether it has an operation that ends agents.
    endsagents INTEGER NOT NULL DEFAULT 0,
    -- Its commands counted by status, JSON; null while some have not ended.
    counters TEXT
) STRICT;
CREATE INDEX actions_status ON actions (status, expireafter);
CREATE INDEX actions_ending ON actions (finishtime) WHERE endsagents = 1;

-- queueloc: a restarted agent has a new row, and must not receive the same action again.
CREATE TABLE commands (
    id INTEGER PRIMARY KEY,
    actionid INTEGER NOT NULL,
    agentid INTEGER NOT NULL,
    queueloc TEXT NOT NULL,
    status TEXT NOT NULL,
    results TEXT NOT NULL,
    starttime INTEGER NOT NULL,
    finishtime INTEGER NOT NULL,
    UNIQUE (actionid, agentid),
    UNIQUE (actionid, queueloc)
) STRICT;
CREATE INDEX commands_status ON commands (actionid, status);
CREATE INDEX commands_queueloc ON commands (queueloc);
CREATE INDEX commands_agentid ON commands (agentid);

CREATE TABLE investigators (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    pgpfingerprint TEXT NOT NULL UNIQUE,
    publickey TEXT NOT NULL,
    privatekey TEXT,
    status TEXT NOT NULL,
    createdat INTEGER NOT NULL,
    lastmodified INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX investigators_scheduler ON investigators (name) WHERE privatekey IS NOT NULL;

CREATE TABLE signatures (
    actionid INTEGER NOT NULL,
    investigatorid INTEGER NOT NULL,
    pgpsignature TEXT NOT NULL,
    UNIQUE (actionid, investigatorid, pgpsignature)
) STRICT;

CREATE INDEX signatures_investigator ON signatures (investigatorid);

-- What the API's requests are recognized by. investigatorid is null for a signed token that may be used once.
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    investigatorid INTEGER,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_expires ON tokens (expires);

CREATE TABLE agents_stats (
    timestamp INTEGER NOT NULL,
    online_agents INTEGER NOT NULL,
    online_agents_by_version TEXT NOT NULL,
    online_endpoints INTEGER NOT NULL,
    idle_agents INTEGER NOT NULL,
    idle_agents_by_version TEXT NOT NULL,
    idle_endpoints INTEGER NOT NULL,
    new_endpoints INTEGER NOT NULL,
    multi_agents_endpoints INTEGER NOT NULL,
    disappeared_endpoints INTEGER NOT NULL,
    flapping_endpoints INTEGER NOT NULL
) STRICT;
