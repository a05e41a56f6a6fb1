//! Heartbeats: who may not register, and what nobody should believe.

use crate::bench::{Bench, Make, bytes, old};
use crate::common::names;
use mig::time;
use serde_json::{Value, json};
use std::time::Duration;

/// What becomes of a heartbeat.
enum Outcome {
    /// The agents known are one more.
    Registered,
    /// It is dropped, and the log says this.
    Dropped(&'static str),
    /// It lies in the relay's `dead` with this reason.
    Dead(String),
    /// It stays in the queue: somebody may be copying it.
    Left,
}

use Outcome::{Dead, Dropped, Left, Registered};

pub struct Row {
    what: String,
    make: Make,
    outcome: Outcome,
}

fn heartbeat() -> Value {
    let now = time::now().to_string();
    json!({"name": "host", "queueloc": "linux.host.1", "mode": "daemon", "version": "1", "pid": 7, "starttime": now,
        "destructiontime": "9998-01-11T11:11:11Z", "heartbeatts": now, "environment": {"os": "linux"}, "tags": {}})
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
    Row { what, make: bytes(with(field, value).to_string()), outcome: Dead(reason) }
}

fn raw(what: &str, content: impl Into<Vec<u8>>, reason: &str) -> Row {
    Row { what: what.into(), make: bytes(content), outcome: Dead(reason.into()) }
}

fn registered(what: &str, heartbeat: Value) -> Row {
    Row { what: what.into(), make: bytes(heartbeat.to_string()), outcome: Registered }
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
    rows.push(Row {
        what: "not in the whitelist".into(),
        make: bytes(with("queueloc", "windows.host.1".into()).to_string()),
        outcome: Dropped("getHeartbeats(): Agent 'windows.host.1' is not authorized\n"),
    });
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
    rows.push(Row { what: "a part, just now".into(), make: bytes(&whole[..50]), outcome: Left });
    let cut = "the JSON text ends in the middle (empty or half-written)";
    rows.push(Row { what: "a part, minutes ago".into(), make: old(&whole[..50]), outcome: Dead(cut.into()) });
    rows.push(Row {
        what: "a gigabyte with nothing in it".into(),
        make: Box::new(|_, path| std::fs::File::create(path).unwrap().set_len(1 << 30).unwrap()),
        outcome: Dead("has 1073741824 bytes, the limit is 16777216".into()),
    });
    rows.push(Row {
        what: "a link".into(),
        make: Box::new(|_, path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        outcome: Dead("is a symbolic link; drop the file itself".into()),
    });
    rows
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [queuelocs(), fields(), texts()].into_iter().flatten().collect()
}

/// Sends a heartbeat beside a good one and runs. Gives what is wrong.
pub fn attempt(bench: &Bench, row: &Row) -> Vec<String> {
    bench.reset();
    let store = rusqlite::Connection::open(bench.path("mig.db")).unwrap();
    store.execute("DELETE FROM agents", []).unwrap();
    let queue = bench.path("relay/mig.agt.heartbeats");
    (row.make)(bench, &queue.join("hostile.json"));
    std::fs::write(queue.join("good.json"), with("queueloc", "linux.good.1".into()).to_string()).unwrap();
    let log = match bench.run("heartbeats") {
        Ok(log) => log,
        Err(problem) => return vec![format!("{}: {problem}", row.what)],
    };
    let mut violations = Vec::new();
    let mut expect = |what: String, holds: bool| {
        if !holds {
            violations.push(format!("{}: {what}; log: {}", row.what, log.lines().last().unwrap_or_default()));
        }
    };
    let sql = "SELECT count(*) FROM agents WHERE queueloc = ?1 AND status = 'online'";
    let online = |queueloc: &str| store.query_row(sql, [queueloc], |row| row.get::<_, i64>(0)).unwrap();
    let all = store.query_row("SELECT count(*) FROM agents", [], |row| row.get::<_, i64>(0)).unwrap();
    let registered = i64::from(matches!(row.outcome, Registered));
    expect("the good one is not registered".into(), online("linux.good.1") == 1);
    expect(format!("{all} agents are known"), all == 1 + registered && online("linux.host.1") == registered);
    let left = names(&queue);
    expect(format!("the queue holds {left:?}"), left.is_empty() != matches!(row.outcome, Left));
    let dead = names(&bench.path("relay/dead"));
    expect(format!("dead holds {dead:?}"), dead.is_empty() != matches!(row.outcome, Dead(_)));
    match &row.outcome {
        Dropped(words) => expect(format!("the log lacks\n  {words}: {log}"), log.contains(words)),
        Dead(reason) => {
            let found = bench.reason("relay/dead", "hostile.json");
            expect(format!("the reason is\n  {found}\nnot\n  {reason}"), found == *reason);
        }
        Registered | Left => {}
    }
    violations
}
