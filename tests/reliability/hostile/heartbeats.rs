//! Heartbeats: who may not register, and what is not credible.

use super::bench::Outcome::{Accepted, Discarded, LeftAlone, Refused};
use super::bench::{Bench, Outcome, Place, Row, bytes, heartbeat, in_words, made, old};
use mig::time;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

fn row(what: impl Into<String>, make: impl Fn(&Bench, &Path) -> Result<(), String> + 'static, outcome: Outcome) -> Row {
    made(what, make, outcome).at(Place::Heartbeats)
}

fn with(field: &str, value: Value) -> Value {
    let mut heartbeat = heartbeat();
    heartbeat[field] = value;
    heartbeat
}

/// A heartbeat with one field that it cannot have.
fn refused(field: &str, value: Value, reason: &str) -> Row {
    let what = format!("{field}: {}", value.to_string().chars().take(40).collect::<String>());
    let reason = format!("field '{field}': {reason}");
    row(what, bytes(with(field, value).to_string()), Refused(reason))
}

fn raw(what: &str, content: impl Into<Vec<u8>>, reason: &str) -> Row {
    row(what, bytes(content), Refused(reason.into()))
}

fn registered(what: &str, heartbeat: Value) -> Row {
    row(what, bytes(heartbeat.to_string()), Accepted)
}

fn queuelocs() -> Vec<Row> {
    let bad = |text: &str, shown: &str, reason: &str| {
        let form = format!("'{shown}' is not a queueloc such as linux.host.example.net.58b3mndjmbb00: {reason}");
        refused("queueloc", text.into(), &form)
    };
    const LETTERS: &str = "it may hold letters, digits, '_', '-' and single dots only";
    let long = format!("linux.{}.x", "a".repeat(240));
    let mut rows = vec![
        refused("queueloc", Value::Null, "is missing"),
        refused("queueloc", "".into(), "is empty"),
        refused("queueloc", 5.into(), "is not a string"),
        bad("linux.../../../etc.x", "linux.../../../etc.x", LETTERS),
        bad("linux.a/b.c", "linux.a/b.c", LETTERS),
        bad("linux.a\nb.c", "linux.a\\nb.c", LETTERS),
        bad("linux.a\u{0}.c", "linux.a\\u{0}.c", LETTERS),
        bad("linux.*.#", "linux.*.#", LETTERS),
        bad("linux.münchen.x", "linux.m\\u{fc}nchen.x", LETTERS),
        bad("../linux.a.b", "../linux.a.b", LETTERS),
        bad("heartbeats", "heartbeats", "it has no dots"),
        bad("results.a.b", "results.a.b", "it does not begin with linux, windows or darwin"),
        bad("linux.a", "linux.a", "it lacks a host name or an id"),
        bad(&long, &long[..80], "it is too long"),
    ];
    rows.push(row(
        "not in the whitelist",
        bytes(with("queueloc", "windows.host.1".into()).to_string()),
        Discarded("getHeartbeats(): Agent 'windows.host.1' is not authorized\n".into()),
    ));
    rows
}

fn fields() -> Vec<Row> {
    let (now, hour) = (time::now(), Duration::from_secs(3600));
    let (late, early) = (time::before(now, hour).to_string(), time::after(now, hour).to_string());
    const NO_TIME: &str = "is not a time such as 2026-11-22T08:18:18Z";
    vec![
        refused("name", Value::Null, "is missing"),
        refused("name", "n".repeat(1025).into(), "has 1025 bytes, the limit is 1024"),
        refused("version", "v".repeat(129).into(), "has 129 bytes, the limit is 128"),
        refused("mode", "lazy".into(), "is none of '', 'daemon' and 'checkin'"),
        refused("pid", "1".into(), "is not a number"),
        refused("pid", 1.5.into(), "is not a whole number"),
        refused("starttime", "yesterday".into(), NO_TIME),
        refused("heartbeatts", 5.into(), NO_TIME),
        refused("heartbeatts", Value::Null, "0001-01-01T00:00:00Z is older than the agent timeout"),
        refused("heartbeatts", late.clone().into(), &format!("{late} is older than the agent timeout")),
        refused("heartbeatts", early.clone().into(), &format!("{early} is in the future")),
        refused("environment", json!([1]), "is not an object"),
        refused("tags", "text".into(), "is not an object"),
        refused(
            "tags",
            json!({"x": vec![1; 2001]}),
            "has more than 2000 parts (objects, arrays and what stands in them)",
        ),
        registered("a name of SQL", with("name", "'; DROP TABLE agents; --".into())),
        registered("a name with a zero byte", with("name", "host\u{0}\u{1b}[31m".into())),
        registered("a rank of its own", with("status", "destroyed".into())),
        registered("an id of its own", with("id", 1.into())),
        registered("a start in the year 0", with("starttime", "0000-01-01T00:00:00Z".into())),
        registered("a negative process", with("pid", (-1).into())),
    ]
}

fn texts() -> Vec<Row> {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let with_tags = |tags: &str| with("tags", "HERE".into()).to_string().replace("\"HERE\"", tags);
    let whole = heartbeat().to_string();
    let large = with("tags", json!({"x": "t".repeat(100_000)})).to_string();
    let size = format!("field 'heartbeat': has {} bytes, the limit is 100000", large.len());
    let mut rows = vec![
        raw("no JSON", "{]}", "not acceptable JSON: key must be a string at line 1 column 2"),
        raw(
            "a field twice",
            "{\"name\": 1, \"name\": 2}",
            "not acceptable JSON: the key 'name' stands twice in one object at line 1 column 22",
        ),
        raw("too large", large, &size),
        raw(
            "deep tags",
            with_tags(&format!("{{\"x\":{deep}}}")),
            "field 'tags': not acceptable JSON: recursion limit exceeded at line 1 column 132",
        ),
        raw(
            "half a surrogate",
            with_tags("{\"x\":\"\\ud800\"}"),
            "field 'tags': not acceptable JSON: unexpected end of hex escape at line 1 column 13",
        ),
    ];
    let cut = "the JSON text ends in the middle (empty or half-written)";
    let large = |_: &Bench, path: &Path| in_words(File::create(path).and_then(|file| file.set_len(1 << 30)));
    let link = |_: &Bench, path: &Path| in_words(symlink("/dev/zero", path));
    rows.extend([
        row("a part, just now", bytes(&whole[..50]), LeftAlone),
        row("a part, minutes ago", old(&whole[..50]), Refused(cut.into())),
        row("a gigabyte with nothing in it", large, Refused("has 1073741824 bytes, the limit is 16777216".into())),
        row("a link", link, Refused("is a symbolic link; drop the file itself".into())),
    ]);
    rows
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [queuelocs(), fields(), texts()].into_iter().flatten().collect()
}
