//! What each role may do, and that a target can do nothing but select.

use super::{agents, now, select, servers};
use mig::failure::Failure;
use mig::store::Store;
use mig::store::postgres::PostgresStore;
use mig::targets::Target;
use std::path::Path;
use std::time::Instant;

/// `table.column` of everything that a role may do something with.
fn allowed(server: &Path, database: &str, role: &str, what: &str) -> Vec<String> {
    let sql = format!(
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
            AND has_column_privilege('{role}', c.oid, a.attnum, '{what}') ORDER BY c.relname, a.attnum"
    );
    servers::psql(server, database, &sql).lines().map(str::to_owned).collect()
}

/// The columns that targets may name.
const NAMEABLE: [(&str, &str); 3] = [
    (
        "actions",
        "id name target description threat operations validfrom expireafter starttime finishtime lastupdatetime status \
        syntaxversion pgpsignatures",
    ),
    ("agents", "id name queueloc mode version pid starttime destructiontime heartbeattime status environment tags"),
    ("commands", "id actionid agentid status results starttime finishtime"),
];

#[test]
fn targets_role_may_select_what_targets_may_name_and_nothing_else() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let named =
        NAMEABLE.iter().flat_map(|(table, columns)| columns.split(' ').map(move |one| format!("{table}.{one}")));
    assert_eq!(allowed(&server, &config.database, "migreadonly", "SELECT"), named.collect::<Vec<_>>());
    for what in ["INSERT", "UPDATE", "REFERENCES"] {
        assert!(allowed(&server, &config.database, "migreadonly", what).is_empty(), "{what}");
    }
    let others = "SELECT has_sequence_privilege('migreadonly', 'ids', 'USAGE'), has_schema_privilege('migreadonly', \
        'public', 'CREATE'), has_database_privilege('migreadonly', current_database(), 'TEMP'), \
        (SELECT rolcanlogin OR rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = 'migreadonly')";
    assert_eq!(servers::psql(&server, &config.database, others), "f|f|f|f");
}

#[test]
fn nobody_but_the_schedulers_sees_their_key_and_deletes_agents_only() {
    let server = servers::shared("postgres");
    let database = servers::database(&server).database;
    let private = "investigators.privatekey".to_owned();
    assert!(allowed(&server, &database, "migscheduler", "SELECT").contains(&private));
    for what in ["SELECT", "INSERT", "UPDATE"] {
        assert!(!allowed(&server, &database, "migapi", what).contains(&private), "{what}");
    }
    assert_eq!(allowed(&server, &database, "migapi", "UPDATE"), ["investigators.status", "investigators.lastmodified"]);
    let sql = "SELECT string_agg(role || ' ' || c.relname, ' ')
        FROM pg_class c, unnest('{migscheduler,migapi,migreadonly}'::text[]) AS role
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND (has_table_privilege(role, c.oid, 'DELETE')
            OR has_table_privilege(role, c.oid, 'TRUNCATE') OR has_table_privilege(role, c.oid, 'TRIGGER'))";
    assert_eq!(servers::psql(&server, &database, sql), "migscheduler agents migapi tokens");
    let log_in = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'mig%' AND
        (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)";
    assert_eq!(servers::psql(&server, &database, log_in), "");
}

#[test]
fn a_target_is_one_condition_and_runs_with_the_least_rights() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("t", 3), now()).unwrap();
    for refused in [
        "true; DELETE FROM agents",
        "true) ; RESET ROLE; SELECT (true",
        "id IN (SELECT id FROM investigators)",
        "name = (SELECT privatekey FROM investigators)",
        "pg_sleep(60) IS NULL",
        "set_config('role', 'postgres', false) = 'x'",
        "EXISTS (SELECT pg_sleep(60))",
        "name = current_user",
        "name = $1",
    ] {
        assert!(Target::parse(refused).is_err(), "{refused}");
    }
    // Text that would be one of these stays text.
    for harmless in
        ["name = 'x''; RESET ROLE; --'", "name ~ '\\\\''; DROP TABLE agents; --'", "name = '$$; COMMIT; $$'"]
    {
        assert!(select(&mut store, harmless).unwrap().is_empty(), "{harmless}");
    }
    assert_eq!(select(&mut store, "all").unwrap().len(), 3);
    // What the role cannot do even when somebody finds a way around the parser: as the store runs targets.
    let run = |statement: &str| {
        let begin = "BEGIN READ ONLY; SET LOCAL ROLE migreadonly; SET LOCAL statement_timeout = 300;";
        let url = format!(
            "host=127.0.0.1 port={} dbname={} user=migscheduler password={}",
            config.port,
            config.database,
            config.password.expose()
        );
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.batch_execute(begin).unwrap();
        let error = client.query(statement, &[]).unwrap_err();
        error.as_db_error().map(|db| db.message().to_owned()).unwrap_or_default()
    };
    for (statement, error) in [
        ("SELECT privatekey FROM investigators", "permission denied for table investigators"),
        ("SELECT owner FROM actions", "permission denied for table actions"),
        ("DELETE FROM agents", "permission denied for table agents"),
        ("SELECT nextval('ids')", "permission denied for sequence ids"),
        ("SELECT 1; RESET ROLE", "cannot insert multiple commands into a prepared statement"),
        ("SELECT pg_sleep(60)", "canceling statement due to statement timeout"),
        ("COPY agents TO PROGRAM 'id'", "must be superuser"),
        ("CREATE TABLE x (y int)", "permission denied for schema public"),
    ] {
        let found = run(statement);
        assert!(found.contains(error) || found.contains("read-only transaction"), "{statement}: {found}");
    }
}

#[test]
fn a_target_that_takes_too_long_is_ended_by_the_server() {
    let config = servers::database(&servers::shared("postgres"));
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("slow", 400), now()).unwrap();
    let target = "EXISTS (SELECT a.id FROM agents a, agents b, agents c, agents d WHERE a.id + b.id + c.id + d.id < 0)";
    let start = Instant::now();
    let Err(Failure::Refuse(text)) = select(&mut store, target) else { panic!() };
    assert!(text.contains("takes longer than 10 s"), "{text}");
    assert!(start.elapsed() < servers::PATIENCE);
    assert_eq!(select(&mut store, "all").unwrap().len(), 400, "the next one is evaluated");
}
