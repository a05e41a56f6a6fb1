//! Hostile targets: one table of injections, each refused with the piece named before any of it reaches a database; and
//! texts that only look like one, which are data and select what they say.

mod functions;
mod mistakes;
mod names;
mod statements;
mod syntax;

use crate::common::score::Score;
use mig::heartbeat::Agent;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::targets::Target;
use mig::time;
use serde_json::json;
use std::time::Duration;

/// A target, and a part of why it is refused.
type Row = (&'static str, &'static str);

/// Why a row is not refused as expected.
fn fault(target: &str, part: &str) -> Option<String> {
    match Target::parse(target) {
        Ok(_) => Some(format!("accepted: {target}")),
        Err(error) if error.to_string().contains(part) => None,
        Err(error) => Some(format!("{target}\nsays: {error}\nwithout: {part}")),
    }
}

#[test]
fn every_injection_is_refused_with_the_piece_named() {
    let mut score = Score::begin("target table");
    let tables: &[&[Row]] = &[
        statements::STATEMENTS,
        statements::COMMENTS,
        statements::QUOTES,
        statements::PARAMETERS,
        statements::NO_PLAIN_SQL,
        names::TABLES,
        names::COLUMNS,
        names::ROLES,
        names::OUTSIDE_THE_LIST,
        functions::FUNCTIONS,
        functions::AGGREGATES,
        syntax::WRITES,
        syntax::OPERATORS,
        syntax::FORMS,
        syntax::SUBQUERIES,
    ];
    let rows: Vec<&Row> = tables.iter().copied().flatten().collect();
    let faults: Vec<String> = rows.iter().filter_map(|(target, part)| fault(target, part)).collect();
    score.add_runs(rows.len());
    score.end(&faults, "injections");
}

#[test]
fn every_mistake_is_refused_with_help() {
    let mut score = Score::begin("target table: mistakes");
    let rows = mistakes::rows();
    let faults: Vec<String> = rows.iter().filter_map(|(target, part)| fault(target, part)).collect();
    score.add_runs(rows.len());
    score.end(&faults, "");
}

const PLAIN: &str = "alpha";
const STATEMENT: &str = "'; DROP TABLE agents; --";
const WILD: &str = r#"100%_\"#;

/// Texts that look like an injection, and the agents that they select.
const DATA: &[(&str, &[&str])] = &[
    ("all", &[PLAIN, STATEMENT, WILD]),
    ("ALL", &[PLAIN, STATEMENT, WILD]),
    ("1=1", &[PLAIN, STATEMENT, WILD]),
    ("name='' OR ''=''", &[PLAIN, STATEMENT, WILD]),
    ("name = '''; DROP TABLE agents; --'", &[STATEMENT]),
    ("name IN ('alpha', '''); DELETE FROM agents; --')", &[PLAIN]),
    ("name = 'x'' OR ''1''=''1'", &[]),
    ("name LIKE '%;%'", &[STATEMENT]),
    ("name LIKE '%''%--'", &[STATEMENT]),
    (r"name LIKE '100\%\_%'", &[WILD]),
    (r"name LIKE '%\\'", &[WILD]),
    (r"name = '100%_\'", &[WILD]),
    (r"name = '\'", &[]),
    ("name ~ '; DROP'", &[STATEMENT]),
    ("name ~* 'drop table'", &[STATEMENT]),
    ("name = '-- x'", &[]),
    ("name = '/* x */'", &[]),
    ("name = '$1' OR name = ':name' OR name = '?' OR name = '@x' OR name = '%s'", &[]),
    ("name = 'pg_sleep(10)'", &[]),
    ("name = '(SELECT publickey FROM investigators)'", &[]),
    ("name = '\u{202e}\u{2028}\u{feff}\u{2019}\u{ff07}ё😀'", &[]),
    ("tags->>'''; DROP TABLE agents; --' = 'x'", &[]),
    ("tags->>'$.a' = 'x' OR tags->>'a.b' = 'x' OR tags->>'a[0]' = 'x'", &[]),
    ("tags->>'quote' = ''''", &[PLAIN]),
    ("\"agents\".\"name\" = 'alpha'", &[PLAIN]),
    ("AGENTS.NAME = 'alpha'", &[PLAIN]),
    ("id IN (SELECT \"a;--\".id FROM agents AS \"a;--\" WHERE \"a;--\".name = 'alpha')", &[PLAIN]),
    ("id IN (SELECT \"a\"\"b\".id FROM agents AS \"a\"\"b\" WHERE \"a\"\"b\".name = 'alpha')", &[PLAIN]),
    ("id IN (SELECT \"select\".id FROM agents AS \"select\")", &[PLAIN, STATEMENT, WILD]),
    ("id IN (SELECT id FROM agents LIMIT ALL)", &[PLAIN, STATEMENT, WILD]),
    ("id IN (SELECT agentid FROM commands)", &[]),
    ("current_timestamp > heartbeattime - INTERVAL '1 minute'", &[PLAIN, STATEMENT, WILD]),
    ("INTERVAL '1 day' * 1000000000000 > INTERVAL '1 day'", &[PLAIN, STATEMENT, WILD]),
];

#[test]
fn what_only_looks_like_an_injection_is_data() {
    let mut score = Score::begin("target table: data");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let now = time::now();
    let agent = |(number, name): (usize, &&str)| {
        let heartbeat = json!({"name": name, "queueloc": format!("linux.host.{number}"), "heartbeatts": now.to_string(),
            "tags": {"quote": if number == 0 { "'" } else { "" }}});
        Agent::parse_heartbeat(heartbeat.to_string().as_bytes(), now, Duration::from_secs(600)).unwrap()
    };
    let agents: Vec<Agent> = [PLAIN, STATEMENT, WILD].iter().enumerate().map(agent).collect();
    store.register(&agents, now).unwrap();
    let content = || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let sql =
            "SELECT (SELECT group_concat(sql) FROM sqlite_schema), (SELECT group_concat(name || status) FROM agents)";
        connection.query_row(sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap()
    };
    let before = content();
    let mut faults = Vec::new();
    for (target, expected) in DATA {
        let selected = Target::parse(target).map_err(|e| e.to_string()).and_then(|parsed| {
            let selected = store.select_agents(&parsed, now).and_then(|ids| store.load_agents(&ids));
            let agents = selected.map_err(|e| e.to_string())?;
            Ok(agents.into_iter().map(|agent| agent.name).collect::<Vec<_>>())
        });
        if !selected.as_ref().is_ok_and(|names| names == expected) {
            faults.push(format!("{target} selects {selected:?}"));
        }
        if content() != before {
            faults.push(format!("{target} changes the store"));
        }
    }
    score.add_runs(DATA.len());
    score.end(&faults, "");
}
