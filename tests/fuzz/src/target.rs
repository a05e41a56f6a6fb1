//! Targets: whatever is accepted reaches a database as one condition that means what was parsed, and SQLite takes it.

#[path = "../../../src/targets/tests/plain.rs"]
mod plain;

use mig::failure::Failure;
use mig::heartbeat::Agent;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::targets::{Dialect, Target, TargetError};
use mig::time::{self, Timestamp};
use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Duration;

/// 2026-11-22T12:00:00Z.
const NOW_US: i64 = 1_795_348_800_000_000;

/// A target: what is rendered is one condition, reads as the same target again, and runs.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(target) = Target::parse(text) else { return };
    let once = target.condition(Dialect::PostgreSql, NOW_US);
    assert_one_condition(&once, true);
    assert_one_condition(&target.condition(Dialect::Sqlite, NOW_US), false);
    assert_same_when_read_again(&target, &once);
    assert_runs(&target);
}

/// No statement ends, no comment begins and no parenthesis closes that was not opened, outside of strings.
fn assert_one_condition(sql: &str, has_escape_strings: bool) {
    let mut depth = 0_usize;
    let mut rest = sql;
    while let Some(character) = rest.chars().next() {
        for bad in [";", "--", "/*", "$$", "\\", "\0"] {
            assert!(!rest.starts_with(bad), "{bad} in {sql}");
        }
        let string = rest.strip_prefix('\'').map(|string| (string, false));
        let string = string.or_else(|| {
            let string = rest.strip_prefix("E'").filter(|_| has_escape_strings)?;
            Some((string, true))
        });
        if let Some((string, escapes)) = string {
            rest = after_string(string, escapes).unwrap_or_else(|| panic!("a string does not end in {sql}"));
            continue;
        }
        match character {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).unwrap_or_else(|| panic!("a parenthesis too many in {sql}")),
            _ => {}
        }
        rest = &rest[character.len_utf8()..];
    }
    assert_eq!(depth, 0, "a parenthesis is not closed in {sql}");
}

/// What follows a string, read as PostgreSQL reads it (Lexical Structure, String Constants).
fn after_string(string: &str, escapes: bool) -> Option<&str> {
    let mut characters = string.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' if escapes => drop(characters.next()),
            // A plain string with a backslash would depend on standard_conforming_strings.
            '\'' if string[place + 1..].starts_with('\'') => drop(characters.next()),
            '\'' => return Some(&string[place + 1..]),
            _ => {}
        }
    }
    None
}

/// What a rendering has around the array of a json_array_elements.
static ARRAY: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = "EXISTS (SELECT 1 FROM agents a, json_array_elements(a.tags) e)";
    let sql = Target::parse(text).expect("a target").condition(Dialect::PostgreSql, NOW_US);
    let call = &sql[sql.find("json_array_elements").expect("the call")..];
    let (before, after) = call.split_once("t1_0.tags").expect("its argument");
    let (after, _) = after.split_once(" AS t1_1").expect("its alias");
    (before.to_owned(), after.to_owned())
});

fn assert_same_when_read_again(target: &Target, once: &str) {
    let again = match Target::parse(&plain::plain(once, (&ARRAY.0, &ARRAY.1))) {
        Ok(again) => again,
        // The rendering has more parentheses than its text.
        Err(TargetError::TooDeep | TargetError::TooManyParts | TargetError::TooLong { .. }) => return,
        Err(error) => panic!("{once}: {error}"),
    };
    assert_eq!(again.condition(Dialect::PostgreSql, NOW_US), once);
    // NOW() has become a literal, of which SQLite sees the same.
    assert_eq!(again.condition(Dialect::Sqlite, NOW_US), target.condition(Dialect::Sqlite, NOW_US), "{once}");
}

/// A store with one agent.
struct Database {
    store: SqliteStore,
    _directory: tempfile::TempDir,
}

thread_local! {
    static DATABASE: RefCell<Database> = RefCell::new(Database::new());
}

fn now() -> Timestamp {
    Timestamp::from_microsecond(NOW_US).expect("a time")
}

impl Database {
    fn new() -> Database {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = SqliteStore::open(&directory.path().join("mig.db")).expect("a store");
        let heartbeat = format!(
            r#"{{"name": "vm", "queueloc": "linux.vm.dn1lbhvz2lfk", "mode": "daemon", "version": "1", "pid": 7,
                "heartbeatts": "{}", "environment": {{"os": "linux", "isproxied": false, "addresses": ["192.0.2.2/24", null]}},
                "tags": {{"floor": "3", "list": [1, "2.5", {{"a": "x"}}], "": "empty"}}}}"#,
            time::before(now(), Duration::from_secs(60))
        );
        let agent = Agent::parse_heartbeat(heartbeat.as_bytes(), now(), Duration::from_secs(600)).expect("a heartbeat");
        store.register(&[agent], now()).expect("registered");
        Database { store, _directory: directory }
    }
}

/// SQLite takes the condition. Casts of what is in a row may fail, and nothing else.
fn assert_runs(target: &Target) {
    let outcome = DATABASE.with_borrow_mut(|database| database.store.select_agents(target, now()));
    match outcome {
        Ok(_) => {}
        Err(Failure::Refuse(reason)) if CAST_ERRORS.iter().any(|words| reason.contains(words)) => {}
        Err(error) => panic!("{error}: {}", target.condition(Dialect::Sqlite, NOW_US)),
    }
}

/// Where a text is no boolean, number or time, and where a sum does not fit.
const CAST_ERRORS: [&str; 4] = [" is not a boolean", " is not an integer", " is not a number", " is not a time"];
