//! Answers: of another agent's command, of none, of another action; and bytes that are no answer.

use super::bench::Outcome::{Accepted, Discarded, LeftAlone};
use super::bench::{Bench, Outcome, Place, Put, Row, answer, bytes, in_words, made, old, pipe, refused};
use mig::id::CommandRef;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

fn row(what: &str, make: impl Fn(&Bench, &Path) -> Result<(), String> + 'static, outcome: Outcome) -> Row {
    made(what, make, outcome).at(Place::Results)
}

fn forged(bench: &Bench) -> Vec<Row> {
    let ours = bench.ours.0;
    let forged = |what, change: fn(&mut Value), outcome| row(what, bytes(bench.answer(change).to_string()), outcome);
    let other_agent = bench.other.1["agent"].clone();
    let other_queueloc = other_agent["queueloc"].as_str().unwrap();
    let own_queueloc = bench.ours.1["agent"]["queueloc"].as_str().unwrap();
    let in_the_name_of_another = bench.answer(|a| a["agent"] = other_agent.clone()).to_string();
    let swapped = bench.answer(|a| a["id"] = bench.other.0.command.get().into()).to_string();
    const OTHER_ACTION: &str = "its action is not the one that was sent";
    vec![
        row(
            "an answer by another agent",
            bytes(in_the_name_of_another),
            refused(format!("command {ours} was not sent to {other_queueloc}")),
        ),
        row(
            "an answer to another agent's command",
            bytes(swapped),
            refused(format!("command {} was not sent to {own_queueloc}", bench.other.0)),
        ),
        forged(
            "an unknown command",
            |a| a["id"] = 5.into(),
            refused(format!("command {}-5 is not known", ours.action)),
        ),
        forged(
            "a known command of an unknown action",
            |a| a["action"]["id"] = 5.into(),
            refused(format!("command 5-{} is not known", ours.command)),
        ),
        forged(
            "another name",
            |a| a["action"]["name"] = "something else".into(),
            refused(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "another operation",
            |a| a["action"]["operations"][0]["module"] = "agentdestroy".into(),
            refused(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "another end",
            |a| a["action"]["expireafter"] = "2099-01-01T00:00:00Z".into(),
            refused(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "no answer",
            |a| a["status"] = "sent".into(),
            refused(format!("command {ours}: status 'sent' is not an answer")),
        ),
        forged(
            "not even sent",
            |a| a["status"] = "prepared".into(),
            refused(format!("command {ours}: status 'prepared' is not an answer")),
        ),
        forged(
            "an unknown status",
            |a| a["status"] = "great".into(),
            refused("field 'status': is not a command's status"),
        ),
        forged("other signatures", |a| a["action"]["pgpsignatures"] = json!(["x"]), Accepted),
        forged("another description", |a| a["action"]["description"] = json!({"author": "me"}), Accepted),
        forged("another agent name", |a| a["agent"]["name"] = "boss".into(), Accepted),
        forged("an end in the future", |a| a["finishtime"] = "2099-01-01T00:00:00Z".into(), Accepted),
        forged("no results", |a| a["results"] = Value::Null, Accepted),
        forged("failed", |a| a["status"] = "failed".into(), Accepted),
    ]
}

fn malformed(bench: &Bench) -> Vec<Row> {
    let change = |what, change: fn(&mut Value), reason: &str| {
        row(what, bytes(bench.answer(change).to_string()), refused(reason))
    };
    let half = &bench.answer(|_| {}).to_string()[..300];
    let twice = bench.answer(|_| {}).to_string().replacen("{", "{\"status\":\"failed\",", 1);
    let column = twice.len();
    let large = bench.answer(|a| a["action"]["threat"] = json!({"x": "t".repeat(3 << 20)})).to_string();
    let size = large.len() - bench.answer(|a| a["action"] = Value::Null).to_string().len() + "null".len();
    vec![
        row("no JSON", bytes("}"), refused("not acceptable JSON: expected value at line 1 column 1")),
        row("an empty object", bytes("{}"), refused("field 'id': is missing")),
        row("an array, copied minutes ago", old("[1]"), refused("not acceptable JSON: it is an array, not an object")),
        row("a part, just now", bytes(half), LeftAlone),
        row(
            "a part, copied minutes ago",
            old(half),
            refused("the JSON text ends in the middle (empty or half-written)"),
        ),
        row(
            "a field twice",
            bytes(twice),
            refused(format!(
                "not acceptable JSON: the key 'status' stands twice in one object at line 1 column {}",
                column
            )),
        ),
        row(
            "an action of three megabytes",
            bytes(large),
            refused(format!("field 'action': has {size} bytes, the limit is 2097152")),
        ),
        change(
            "a negative id",
            |a| a["id"] = (-1).into(),
            "field 'id': '-1' is not an id: a positive whole number up to 9223372036854775807",
        ),
        change(
            "a path for an id",
            |a| a["id"] = "../../5".into(),
            "field 'id': '\"../../5\"' is not an id: a positive whole number up to 9223372036854775807",
        ),
        change("no action", |a| a["action"] = Value::Null, "field 'action': is missing"),
        change("an action without an id", |a| a["action"]["id"] = 0.into(), "field 'action.id': is missing"),
        change(
            "an action whose id is a path",
            |a| a["action"]["id"] = "/etc".into(),
            "field 'action.id': '\"/etc\"' is not an id: a positive whole number up to 9223372036854775807",
        ),
        change(
            "no operations",
            |a| a["action"]["operations"] = json!([]),
            "field 'action.operations': is missing or empty",
        ),
        change("no agent", |a| a["agent"] = Value::Null, "field 'agent': is missing"),
        change(
            "a path for a queueloc",
            |a| a["agent"]["queueloc"] = "linux.../../../etc.x".into(),
            "field 'agent.queueloc': 'linux.../../../etc.x' is not a queueloc such as linux.host.example.net.58b3mndjmbb00: \
            it may hold letters, digits, '_', '-' and single dots only",
        ),
        change("results that are no list", |a| a["results"] = "none".into(), "field 'results': is not an array"),
        change(
            "a thousand results",
            |a| a["results"] = vec![1; 1000].into(),
            "field 'results': has 1000 elements, the limit is 256",
        ),
    ]
}

fn files(bench: &Bench) -> Vec<Row> {
    let padded = |size_bytes: usize| {
        let mut message = bench.answer(|_| {}).to_string().into_bytes();
        message.resize(size_bytes, b' ');
        bytes(message)
    };
    let named = |what, name: &[u8], outcome| {
        row(what, bytes(bench.answer(|_| {}).to_string()), outcome).named(OsStr::from_bytes(name))
    };
    vec![
        row("as large as allowed", padded(16 << 20), Accepted),
        row("one byte too large", padded((16 << 20) + 1), refused("has 16777217 bytes, the limit is 16777216")),
        row(
            "a link",
            |_, path| in_words(symlink("/etc/passwd", path)),
            refused("is a symbolic link; drop the file itself"),
        ),
        row("a pipe", |_, path| pipe(path), refused("is a pipe; drop a regular file")),
        row(
            "a directory",
            |_, path| in_words(std::fs::create_dir(path)),
            refused("is a directory; drop a regular file"),
        ),
        named("a name that has run out", b"1000000000000000.1000000000000001.x.json", Discarded(String::new())),
        named("a name from before 1970", b"-000000000000001.-00000000000001.x.json", Accepted),
        named("a name that is no UTF-8", b"\xff\xfe.json", Accepted),
        named("a name with an escape sequence", b"\x1b[31m\n.json", Accepted),
    ]
}

fn contents(bench: &Bench) -> Vec<Row> {
    let with = |what, results: &str, outcome| {
        let text = bench.answer(|a| a["results"] = "HERE".into()).to_string().replace("\"HERE\"", results);
        row(what, bytes(text), outcome)
    };
    let deep = |levels: usize| format!("[{}{}]", "[".repeat(levels), "]".repeat(levels));
    const TOO_DEEP: &str = "field 'results': is nested more than 127 levels deep";
    vec![
        with("results that no string can hold", r#"[{"elements": "\u0000\ud800"}]"#, Accepted),
        with("a number out of range", r#"[{"elements": 1e999}]"#, Accepted),
        with("a key twice in the results", r#"[{"elements": {"a": 1, "a": 2}}]"#, Accepted),
        with("results as deep as allowed", &deep(126), Accepted),
        with("deep results", &deep(127), refused(TOO_DEEP)),
        with("results like a well", &deep(4_000_000), refused(TOO_DEEP)),
        with("deep brackets in a string", &format!(r#"["\\\"{}"]"#, "[".repeat(100_000)), Accepted),
        with("a million elements", &format!(r#"[{{"elements": [{}1]}}]"#, "1,".repeat(1_000_000)), Accepted),
        with("words of SQL", r#"[{"elements": "'; DROP TABLE commands; --"}]"#, Accepted),
    ]
}

/// An answer to a command that has ended before.
fn ended_as(status: &'static str, change: fn(&mut Value)) -> Put {
    Box::new(move |bench, path| {
        forgotten(change)(bench, path)?;
        let ended = bench.answer(|a| a["status"] = status.into()).to_string();
        in_words(std::fs::write(bench.path("spool/command/done").join(bench.ours.0.file_name()), ended))
    })
}

/// An answer to a command whose file is lost.
fn forgotten(change: fn(&mut Value)) -> Put {
    Box::new(move |bench, path| {
        let (reference, command) = &bench.ours;
        in_words(std::fs::remove_file(bench.path("spool/command/inflight").join(reference.file_name())))?;
        let action = bench.path("spool/action/inflight").join(reference.action.file_name());
        in_words(std::fs::write(action, command["action"].to_string()))?;
        in_words(std::fs::write(path, bench.answer(change).to_string()))
    })
}

/// Answers to commands that are no longer waited for.
fn late(bench: &Bench) -> Vec<Row> {
    let (ours, ended): (CommandRef, CommandRef) = (bench.ours.0, bench.ended.0);
    let by_another = answer(&bench.ended, |a| a["agent"]["queueloc"] = "linux.some.body".into());
    let failed = answer(&bench.ended, |a| a["status"] = "failed".into());
    vec![
        row(
            "answered before",
            ended_as("success", |a| a["status"] = "failed".into()),
            Discarded(format!("(duplicate): command {ours} has ended as success before, the first answer stays")),
        ),
        row(
            "answered before, by another agent",
            ended_as("success", |a| a["agent"]["queueloc"] = "linux.some.body".into()),
            refused(format!("command {ours} was not sent to linux.some.body")),
        ),
        row(
            "expired before",
            ended_as("expired", |a| a["status"] = "success".into()),
            refused(format!("command {ours} has expired before its answer came")),
        ),
        row(
            "expired before, as the agent says too",
            ended_as("expired", |a| a["status"] = "expired".into()),
            Discarded(format!("(duplicate): command {ours} has ended as expired before, the first answer stays")),
        ),
        row(
            "ended and deleted",
            bytes(failed.to_string()),
            Discarded("has ended as success before, the first answer stays".into()),
        ),
        row(
            "ended and deleted, by another agent",
            bytes(by_another.to_string()),
            refused(format!("command {ended} was not sent to linux.some.body")),
        ),
        row("its file is lost", forgotten(|_| {}), Accepted),
        row(
            "its file is lost, and the action is another",
            forgotten(|a| a["action"]["target"] = "all".into()),
            refused(format!("command {}: its action is not the one that was sent", bench.ours.0)),
        ),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [forged(bench), malformed(bench), files(bench), contents(bench), late(bench)].into_iter().flatten().collect()
}

/// A target that looks into results must work whatever an agent has put there.
pub fn what_was_kept_does_not_spoil_targets(bench: &Bench) {
    for row in contents(bench).iter().filter(|row| row.is_accepted()) {
        bench.reset();
        row.put(bench).unwrap();
        bench.run("results").unwrap();
        // Back to unanswered, as far as the store knows, so that the next row is stored too.
        let store = rusqlite::Connection::open(bench.path("mig.db")).unwrap();
        store.execute("UPDATE commands SET status = 'sent'", []).unwrap();
        bench.run("command-returned").unwrap();
        let target = "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r \
            WHERE r->>'foundanything' = 'true' OR r->>'elements' LIKE '%x%' OR r#>>'{elements,a}' = '1')";
        let said = bench.selects(target);
        assert!(said.contains(" agents\n"), "{}: {said}", row.what);
    }
}
