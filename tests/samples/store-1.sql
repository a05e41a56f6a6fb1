-- A store of version 1, with an action and its command.
-- The embedded store. Times are microseconds since 1970 (UTC), JSON is text; the columns are those of formats.md.
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
    pgpsignatures TEXT NOT NULL
) STRICT;
CREATE INDEX actions_status ON actions (status, expireafter);

-- queueloc: an agent that restarts gets a new row, and must not get the same action a second time for it.
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

CREATE TABLE signatures (
    actionid INTEGER NOT NULL,
    investigatorid INTEGER NOT NULL,
    pgpsignature TEXT NOT NULL,
    UNIQUE (actionid, investigatorid, pgpsignature)
) STRICT;

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

PRAGMA user_version = 1;
INSERT INTO sequences VALUES ('ids', 1795335524723826);
INSERT INTO agents VALUES (1, 'host', 'linux.host.x1', 'daemon', '1', 1, 1795335524723826, 253340133071000000,
    1795335524723826, 'offline', '{}', '{}');
INSERT INTO actions VALUES (5, 'kept', 'all', '{}', '{}', '[{"module":"upgrade","parameters":{}}]', 1795335524723826,
    1895335524723826, 1795335524723826, 253340133071000000, 1795335524723826, 'inflight', 2, '["x"]');
INSERT INTO commands VALUES (6, 5, 1, 'linux.host.x1', 'sent', '[]', 1795335524723826, 253340133071000000);
