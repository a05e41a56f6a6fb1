//! Actions with one field that cannot be right.

use super::bench::Outcome::{Accepted, LeftAlone};
use super::bench::{Bench, Outcome, Row, made, refused, text};
use mig::time;
use serde_json::{Value, json};
use std::time::Duration;

const MISSING: Value = Value::Null;

/// A signed action with another value in one field. Whether it is still signed does not matter: it is refused before.
fn with(bench: &Bench, at: &str, value: Value, reason: &str) -> Row {
    let mut action = bench.signed();
    let what = format!("{at}: {}", value.to_string().chars().take(40).collect::<String>());
    match action.pointer_mut(at) {
        Some(field) => *field = value,
        None => action[&at[1..]] = value,
    }
    text(what, action.to_string(), refused(reason))
}

fn texts(bench: &Bench) -> Vec<Row> {
    let with = |at: &str, value: Value, reason: &str| with(bench, at, value, reason);
    vec![
        with("/name", MISSING, "field 'name': is missing"),
        with("/name", "".into(), "field 'name': is empty"),
        with("/name", 5.into(), "field 'name': is not a string"),
        with("/name", "n".repeat(2049).into(), "field 'name': has 2049 bytes, the limit is 2048"),
        with(
            "/name",
            "a;target=b".into(),
            "field 'name': contains ';target=', which would make the signed text ambiguous",
        ),
        with("/target", MISSING, "field 'target': is missing"),
        with("/target", "".into(), "field 'target': is empty"),
        with("/target", json!(["all"]), "field 'target': is not a string"),
        with("/target", "t".repeat(8193).into(), "field 'target': has 8193 bytes, the limit is 8192"),
        with(
            "/target",
            "name='x;operations=y'".into(),
            "field 'target': contains ';operations=', which would make the signed text ambiguous",
        ),
        with("/description", "text".into(), "field 'description': is not an object"),
        with("/threat", 5.into(), "field 'threat': is not an object"),
        with("/counters", json!([]), "field 'counters': is not an object"),
        with("/syntaxversion", MISSING, "field 'syntaxversion': is missing; this program reads 2"),
        with("/syntaxversion", 1.into(), "field 'syntaxversion': is 1; this program reads 2"),
        with("/syntaxversion", "2".into(), "field 'syntaxversion': is not a number"),
        with("/syntaxversion", 2.5.into(), "field 'syntaxversion': is not a whole number"),
    ]
}

fn ids(bench: &Bench) -> Vec<Row> {
    const RANGE: &str = "is not an id: a positive whole number up to 9223372036854775807";
    let with = |value: Value| with(bench, "/id", value.clone(), &format!("field 'id': '{value}' {RANGE}"));
    let accepted = |what: &str, value: Value| {
        let mut action = bench.signed();
        action["id"] = value;
        text(what, action.to_string(), Accepted)
    };
    let in_flight = |bench: &Bench, path: &std::path::Path| {
        let mut action = bench.signed();
        action["id"] = 77.into();
        let other = bench.sandbox.sign(bench.sandbox.draft("on its way"));
        std::fs::write(bench.sandbox.spool().join("action/inflight/77.json"), other.to_string()).unwrap();
        std::fs::write(path, action.to_string()).map_err(|e| e.to_string())
    };
    let of_another = |bench: &Bench, path: &std::path::Path| {
        let mut action = bench.sandbox.sign(bench.sandbox.draft("another"));
        action["id"] = 78.into();
        bench.sandbox.drop_bytes("another.json", action.to_string().as_bytes());
        bench.run("action-new").unwrap();
        std::fs::remove_file(bench.sandbox.spool().join("action/inflight/78.json")).unwrap();
        let mut action = bench.signed();
        action["id"] = 78.into();
        std::fs::write(path, action.to_string()).map_err(|e| e.to_string())
    };
    vec![
        with((-4).into()),
        with(1.5.into()),
        with("5".into()),
        with(true.into()),
        with(u64::MAX.into()),
        with(json!([12])),
        with("../../etc/passwd".into()),
        accepted("id 0", 0.into()),
        accepted("the largest id", i64::MAX.into()),
        accepted("a rounded id", 6.115472790658567e+18.into()),
        made(
            "an id that is in flight",
            in_flight,
            refused("action 77 is in flight already; wait until it is done, or drop it without its id to run it anew"),
        ),
        made(
            "another action's id",
            of_another,
            refused("the id 78 belongs to another action; drop this one without an id, and it gets a new one"),
        )
        .adopted(),
    ]
}

fn windows(bench: &Bench) -> Vec<Row> {
    const NO_TIME: &str = "is not a time such as 2026-11-22T08:18:18Z";
    let (now, minute) = (time::now(), Duration::from_secs(60));
    let window = |what: &str, from, until, outcome: Outcome| {
        text(what, bench.sandbox.sign_window(bench.draft(), from, until).to_string(), outcome)
    };
    let (before, after) = (|minutes| time::before(now, minute * minutes), |minutes| time::after(now, minute * minutes));
    let backwards = refused(format!("field 'expireafter': {} is not after validfrom, {}", after(1), after(9)));
    let equal = refused(format!("field 'expireafter': {} is not after validfrom, {}", after(1), after(1)));
    let ran_out = refused(format!(
        "field 'expireafter': the action expired at {}; give it a later end, and sign it again",
        before(1)
    ));
    let with =
        |at: &str, value: Value, reason: &str| with(bench, at, value, &format!("field '{}': {reason}", &at[1..]));
    vec![
        with("/validfrom", MISSING, "is missing"),
        with("/validfrom", "0001-01-01T00:00:00Z".into(), "is missing"),
        with("/validfrom", "yesterday".into(), NO_TIME),
        with("/validfrom", 1_795_334_400.into(), NO_TIME),
        with("/expireafter", MISSING, "is missing"),
        with("/expireafter", "2026-13-45T99:00:00Z".into(), NO_TIME),
        with("/expireafter", "99999-01-01T00:00:00Z".into(), NO_TIME),
        window("ends before it begins", after(9), after(1), backwards),
        window("ends when it begins", after(1), after(1), equal),
        window("ran out a minute ago", before(9), before(1), ran_out),
        window("begins in an hour", after(60), after(90), LeftAlone),
        window("ends in the year 9999", before(1), "9999-12-30T22:00:00Z".parse().unwrap(), Accepted),
        text(
            "began in the year 0",
            bench.sandbox.sign_window(bench.draft(), "0000-01-01T00:00:00Z".parse().unwrap(), after(9)).to_string(),
            Accepted,
        ),
    ]
}

fn operations(bench: &Bench) -> Vec<Row> {
    let one = || json!({"module": "file", "parameters": {}});
    let with = |at: &str, value: Value, reason: &str| with(bench, at, value, reason);
    const LETTERS: &str = "field 'operations[0].module': may hold letters, digits, '_' and '-' only";
    vec![
        with("/operations", MISSING, "field 'operations': is missing or empty"),
        with("/operations", json!([]), "field 'operations': is missing or empty"),
        with("/operations", one(), "field 'operations': is not an array"),
        with("/operations", vec![one(); 257].into(), "field 'operations': has 257 elements, the limit is 256"),
        with("/operations", json!([one(), 3]), "field 'operations[1]': is a number, not an object"),
        with("/operations/0/module", MISSING, "field 'operations[0].module': is missing"),
        with("/operations/0/module", 1.into(), "field 'operations[0].module': is not a string"),
        with("/operations/0/module", "../../bin/sh".into(), LETTERS),
        with("/operations/0/module", "file\u{0}".into(), LETTERS),
        with(
            "/operations/0/module",
            "f".repeat(65).into(),
            "field 'operations[0].module': has 65 bytes, the limit is 64",
        ),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [texts(bench), ids(bench), windows(bench), operations(bench)].into_iter().flatten().collect()
}
