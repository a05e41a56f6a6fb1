-- The PostgreSQL store: tables, and the permissions of each role. The columns are those of spool-layout/FORMAT.md.
--
-- scripts/createlocaldb.sh and scripts/createremotedb.sh feed this to psql, as the owner of the database. It is
-- idempotent: it keeps what exists and adds what is missing, in one transaction, one run at a time. A section that has
-- been released is never changed; a change is a new section with the next number, and src/store/postgres.rs names the
-- last one.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;

BEGIN;
SELECT pg_advisory_xact_lock(7823460198) \g /dev/null

CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);
SELECT coalesce(max(version), 0) AS version FROM schema_version \gset

-- 1
SELECT :version < 1 AS missing \gset
\if :missing

-- One sequence for all ids: later rows have larger ids. It starts at the clock's microseconds, so that a recreated
-- database reuses no id, and stays below 2^53.
CREATE SEQUENCE ids MAXVALUE 9007199254740991;
SELECT setval('ids', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) \g /dev/null

-- Every heartbeat updates a row. No index has a column that heartbeats change, and pages have free space, so that the
-- new row version stays in its page and no index is updated (HOT); that is why heartbeattime has no index.
CREATE TABLE agents (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    queueloc text NOT NULL,
    mode text NOT NULL,
    version text NOT NULL,
    pid bigint NOT NULL,
    starttime timestamptz NOT NULL,
    destructiontime timestamptz NOT NULL,
    heartbeattime timestamptz NOT NULL,
    status text NOT NULL,
    environment json NOT NULL,
    tags json NOT NULL,
    UNIQUE (queueloc, pid)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX agents_status ON agents (status, starttime);
CREATE INDEX agents_starttime ON agents (starttime);

-- operationsassent: the original operations, if they contain escapes that json's operators cannot convert to text
-- (\u0000, an unpaired surrogate); operations then has U+FFFD in their place. The same for results.
CREATE TABLE actions (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    target text NOT NULL,
    description json NOT NULL,
    threat json NOT NULL,
    operations json NOT NULL,
    operationsassent text,
    validfrom timestamptz NOT NULL,
    expireafter timestamptz NOT NULL,
    starttime timestamptz NOT NULL,
    finishtime timestamptz NOT NULL,
    lastupdatetime timestamptz NOT NULL,
    status text NOT NULL,
    syntaxversion bigint NOT NULL,
    pgpsignatures json NOT NULL,
    -- The scheduler that began it; empty if it was restored from an answer.
    owner text NOT NULL,
    -- Whether it has an operation that ends agents.
    endsagents boolean NOT NULL
);
CREATE INDEX actions_status ON actions (status, expireafter);
CREATE INDEX actions_starttime ON actions (starttime);
CREATE INDEX actions_lastupdatetime ON actions (lastupdatetime);
CREATE INDEX actions_ending ON actions (finishtime) WHERE endsagents;

-- queueloc: a restarted agent has a new row, and must not receive the same action again.
CREATE TABLE commands (
    id bigint PRIMARY KEY,
    actionid bigint NOT NULL,
    agentid bigint NOT NULL,
    queueloc text NOT NULL,
    status text NOT NULL,
    results json NOT NULL,
    resultsassent text,
    starttime timestamptz NOT NULL,
    finishtime timestamptz NOT NULL,
    UNIQUE (agentid, actionid),
    UNIQUE (actionid, queueloc)
);
CREATE INDEX commands_action ON commands (actionid, status);
CREATE INDEX commands_status ON commands (status, starttime);
CREATE INDEX commands_queueloc ON commands (queueloc, starttime);
CREATE INDEX commands_starttime ON commands (starttime);

CREATE TABLE investigators (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    pgpfingerprint text NOT NULL UNIQUE,
    publickey text NOT NULL,
    privatekey text,
    status text NOT NULL,
    createdat timestamptz NOT NULL,
    lastmodified timestamptz NOT NULL
);
CREATE INDEX investigators_name ON investigators (name);
CREATE UNIQUE INDEX investigators_scheduler ON investigators (name) WHERE privatekey IS NOT NULL;

CREATE TABLE signatures (
    actionid bigint NOT NULL,
    investigatorid bigint NOT NULL REFERENCES investigators,
    pgpsignature text NOT NULL
);
-- A signature may exceed the size limit of an index entry.
CREATE UNIQUE INDEX signatures_once ON signatures (actionid, investigatorid, sha256(pgpsignature::bytea));
CREATE INDEX signatures_investigator ON signatures (investigatorid);

CREATE TABLE agents_stats (
    timestamp timestamptz NOT NULL,
    online_agents bigint NOT NULL,
    online_agents_by_version json NOT NULL,
    online_endpoints bigint NOT NULL,
    idle_agents bigint NOT NULL,
    idle_agents_by_version json NOT NULL,
    idle_endpoints bigint NOT NULL,
    new_endpoints bigint NOT NULL,
    multi_agents_endpoints bigint NOT NULL,
    disappeared_endpoints bigint NOT NULL,
    flapping_endpoints bigint NOT NULL
);
CREATE INDEX agents_stats_timestamp ON agents_stats (timestamp);

INSERT INTO schema_version (version) VALUES (1);
\endif

-- 2: the permission to delete agents, below.
SELECT :version < 2 AS missing \gset
\if :missing
INSERT INTO schema_version (version) VALUES (2);
\endif

-- 3: tokens of the API; counters, which it would otherwise count for each answer.
SELECT :version < 3 AS missing \gset
\if :missing

-- An action's commands counted by status; null while some have not ended.
ALTER TABLE actions ADD COLUMN counters json;

-- investigatorid is null for a signed token that may be used once.
CREATE TABLE tokens (
    hash bytea PRIMARY KEY,
    investigatorid bigint,
    expires timestamptz NOT NULL
);
CREATE INDEX tokens_expires ON tokens (expires);

INSERT INTO schema_version (version) VALUES (3);
\endif

-- Permissions. Targets are evaluated as migreadonly.
GRANT USAGE ON SCHEMA public TO migscheduler, migapi, migreadonly;
GRANT SELECT ON schema_version TO migscheduler, migapi;
GRANT USAGE ON SEQUENCE ids TO migscheduler, migapi;

GRANT SELECT, INSERT, UPDATE ON agents, actions, commands, investigators TO migscheduler;
GRANT SELECT, INSERT ON signatures, agents_stats TO migscheduler;
-- Old registrations without commands. No other row is ever deleted.
GRANT DELETE ON agents TO migscheduler;

GRANT SELECT ON agents, actions, commands, signatures, agents_stats TO migapi;
GRANT SELECT (id, name, pgpfingerprint, publickey, status, createdat, lastmodified) ON investigators TO migapi;
GRANT INSERT (id, name, pgpfingerprint, publickey, status, createdat, lastmodified) ON investigators TO migapi;
GRANT UPDATE (status, lastmodified) ON investigators TO migapi;
GRANT SELECT, INSERT, DELETE ON tokens TO migapi;

GRANT SELECT (id, name, queueloc, mode, version, pid, starttime, destructiontime, heartbeattime, status, environment, tags)
    ON agents TO migreadonly;
GRANT SELECT (id, actionid, agentid, status, results, starttime, finishtime) ON commands TO migreadonly;
GRANT SELECT (id, name, target, description, threat, operations, validfrom, expireafter, starttime, finishtime,
    lastupdatetime, status, syntaxversion, pgpsignatures) ON actions TO migreadonly;
COMMIT;
