//! Tables, columns and roles that targets have nothing to do with.

use super::Row;

/// Tables that are not for targets.
pub const TABLES: &[Row] = &[
    ("id IN (SELECT id FROM signatures)", "no table `signatures`"),
    ("id IN (SELECT id FROM agents_stats)", "no table `agents_stats`"),
    ("id IN (SELECT id FROM sequences)", "no table `sequences`"),
    ("id IN (SELECT oid FROM pg_class)", "no table `pg_class`"),
    ("id IN (SELECT usesysid FROM pg_shadow)", "no table `pg_shadow`"),
    ("id IN (SELECT id FROM pg_authid)", "no table `pg_authid`"),
    ("id IN (SELECT id FROM pg_stat_activity)", "no table `pg_stat_activity`"),
    ("name IN (SELECT passwd FROM pg_catalog.pg_shadow)", "no table `pg_catalog.pg_shadow`"),
    ("name IN (SELECT table_name FROM information_schema.tables)", "no table `information_schema.tables`"),
    ("name IN (SELECT sql FROM sqlite_master)", "no table `sqlite_master`"),
    ("name IN (SELECT sql FROM sqlite_schema)", "no table `sqlite_schema`"),
    ("name IN (SELECT sql FROM sqlite_temp_master)", "no table `sqlite_temp_master`"),
    ("name IN (SELECT name FROM sqlite_sequence)", "no table `sqlite_sequence`"),
    ("name IN (SELECT name FROM pragma_table_info('agents'))", "`the function pragma_table_info` is not allowed"),
    ("name IN (SELECT name FROM main.agents)", "no table `main.agents`"),
    ("name IN (SELECT name FROM temp.agents)", "no table `temp.agents`"),
    ("name IN (SELECT name FROM mig.public.agents)", "no table `mig.public.agents`"),
    ("name IN (SELECT name FROM \"pg_user\")", "no table `pg_user`"),
    ("name IN (SELECT publickey FROM \"investigators\")", "no table `investigators`"),
    ("name IN (SELECT privatekey FROM INVESTIGATORS)", "no table `investigators`"),
    ("name IN (SELECT name FROM agents, investigators)", "no table `investigators`"),
    ("name IN (SELECT a.name FROM agents a JOIN investigators i ON TRUE)", "no table `investigators`"),
    ("name IN (SELECT a.name FROM agents a LEFT JOIN pg_user u ON TRUE)", "no table `pg_user`"),
    ("EXISTS (SELECT 1 FROM dual)", "no table `dual`"),
    ("EXISTS (SELECT 1 FROM LATERAL (SELECT 1) x)", "`LATERAL (SELECT 1) x` is not allowed"),
    ("EXISTS (SELECT 1 FROM UNNEST(ARRAY['a']) x)", "`[` is not allowed"),
    ("EXISTS (SELECT 1 FROM ROWS FROM (now()) x)", "syntax: Expected: ), found: FROM at Line: 1, Column: 28"),
    ("EXISTS (SELECT 1 FROM ONLY agents)", "no table `only`"),
    ("EXISTS (SELECT 1 FROM agents*)", "syntax: Expected: ), found: * at Line: 1, Column: 29"),
    ("EXISTS (SELECT 1 FROM json_array_elements('[1]') x)", "`'[1]'` is not json to compare with"),
    ("EXISTS (SELECT 1 FROM json_each('{}') x)", "`the function json_each` is not allowed"),
    ("EXISTS (SELECT 1 FROM dblink('host=x', 'SELECT 1') AS t(a int))", "`the function dblink` is not allowed"),
    ("EXISTS (SELECT 1 FROM (VALUES (1)) v)", "`(VALUES (1)) v` is not allowed"),
    ("EXISTS (SELECT 1 FROM (agents))", "syntax: Expected: joined table, found: ) at Line: 1, Column: 30"),
    ("EXISTS (SELECT 1 FROM readfile('/etc/passwd'))", "`the function readfile` is not allowed"),
];

/// Columns that are not for targets.
pub const COLUMNS: &[Row] = &[
    ("rowid = 1", "no column `rowid`"),
    ("_rowid_ = 1", "no column `_rowid_`"),
    ("agents.rowid = 1", "no column `agents.rowid`"),
    ("tableoid = 1", "no column `tableoid`"),
    ("cmin = 1", "no column `cmin`"),
    ("agents.* IS NULL", "`agents.*` is not allowed"),
    ("* = 1", "syntax: Expected: an expression, found: * at Line: 1, Column: 1"),
    ("pgpfingerprint = 'x'", "no column `pgpfingerprint`"),
    ("agents.\"password\" = 'x'", "no column `agents.password`"),
    ("\"agents\".\"name\".\"x\" = 'x'", "`\"agents\".\"name\".\"x\"` is not allowed"),
    ("excluded.name = 'x'", "no column `excluded.name`"),
    ("new.name = 'x'", "no column `new.name`"),
    ("newest.id = 1", "no column `newest.id`"),
    ("id IN (SELECT c.publickey FROM commands c)", "no column `c.publickey`"),
    ("id IN (SELECT pgpsignatures FROM agents)", "no column `pgpsignatures`"),
];

/// Who is logged in, and as whom.
pub const ROLES: &[Row] = &[
    ("session_user = 'x'", "`the function session_user` is not allowed"),
    ("current_role = 'x'", "no column `current_role`"),
    ("current_catalog = 'x'", "`the function current_catalog` is not allowed"),
    ("current_schema = 'x'", "no column `current_schema`"),
    ("system_user = 'x'", "no column `system_user`"),
    ("SESSION_USER = name", "`the function SESSION_USER` is not allowed"),
    ("current_time > starttime", "`the function current_time` is not allowed"),
    ("localtime > starttime", "`the function localtime` is not allowed"),
];

/// Names that are on no list.
pub const OUTSIDE_THE_LIST: &[Row] = &[
    ("xmin = 1", "no column `xmin`"),
    ("ctid = '(0,1)'", "no column `ctid`"),
    ("oid = 1", "no column `oid`"),
    ("heartbeatts > NOW()", "no column `heartbeatts`"),
    ("\"Name\" = 'x'", "no column `Name`"),
    ("\"\" = 'x'", "no column `\"\"`"),
    ("agents.publickey = 'x'", "no column `agents.publickey`"),
    ("commands.id = 1", "no column `commands.id`"),
    ("public.agents.name = 'x'", "`public.agents.name`"),
    ("agents IS NULL", "no column `agents`"),
    ("status = \"online\"", "no column `online`"),
    ("id IN (SELECT id FROM investigators)", "no table `investigators`"),
    ("id IN (SELECT id FROM pg_catalog.pg_class)", "no table `pg_catalog.pg_class`"),
    ("id IN (SELECT id FROM public.agents)", "no table `public.agents`"),
    ("id IN (SELECT usesysid FROM pg_user)", "no table `pg_user`"),
    ("id IN (SELECT commands.id FROM commands c)", "no column `commands.id`"),
    ("id IN (SELECT a.agentid FROM agents a)", "no column `a.agentid`"),
    ("id IN (SELECT id FROM agents, commands)", "several tables"),
    ("id IN (SELECT 1 FROM agents, agents)", "give one an alias"),
    ("current_user = 'x'", "current_user"),
    ("user = 'x'", "user"),
];
