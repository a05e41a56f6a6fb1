//! Answers: of another agent's command, of none, of another action; and bytes that are no answer.

use crate::bench::{Bench, Make, answer, bytes, old};
use crate::common::names;
use mig::command::Command;
use mig::id::CommandRef;
use rustix::fs::{CWD, Mode};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// What becomes of a message.
pub enum Outcome {
    /// It lies in the relay's `dead` with this reason.
    Dead(String),
    /// Its status and results are in command/returned, in the command as it was sent.
    Kept,
    /// It is taken from the queue and changes nothing; the log says this.
    Dropped(String),
    /// It is taken from the queue without a word: it had run out.
    Expired,
    /// It stays in the queue: somebody may be copying it.
    Left,
}

use Outcome::{Dead, Dropped, Expired, Kept, Left};

pub struct Row {
    what: &'static str,
    name: Vec<u8>,
    make: Make,
    outcome: Outcome,
}

fn row(what: &'static str, make: Make, outcome: Outcome) -> Row {
    Row { what, name: b"hostile.json".to_vec(), make, outcome }
}

fn dead(reason: impl Into<String>) -> Outcome {
    Dead(reason.into())
}

/// Puts a message beside a good one and runs. Gives what is wrong.
pub fn attempt(bench: &Bench, row: &Row) -> Vec<String> {
    bench.reset();
    let queue = bench.path("relay/mig.agt.results");
    let file = queue.join(std::ffi::OsStr::from_bytes(&row.name));
    (row.make)(bench, &file);
    let before = bench.command("inflight", bench.ours.0).map(|command| command.to_json());
    std::fs::write(queue.join("good.json"), answer(&bench.other, |_| {}).to_string()).unwrap();
    let log = match bench.run("results") {
        Ok(log) => log,
        Err(problem) => return vec![format!("{}: {problem}", row.what)],
    };
    let mut violations = Vec::new();
    let mut expect = |what: String, holds: bool| {
        if !holds {
            violations.push(format!("{}: {what}; log: {}", row.what, log.lines().last().unwrap_or_default()));
        }
    };
    expect("the good answer is not kept".into(), bench.command("returned", bench.other.0).is_some());
    let returned = bench.command("returned", bench.ours.0);
    let in_flight = bench.command("inflight", bench.ours.0).map(|command| command.to_json());
    let name = String::from_utf8_lossy(&row.name);
    let left = names(&queue);
    expect(format!("the queue holds {left:?}"), left.is_empty() != matches!(row.outcome, Left));
    let dead = names(&bench.path("relay/dead"));
    expect(format!("dead holds {dead:?}"), dead.is_empty() != matches!(row.outcome, Dead(_)));
    let litter = [names(&bench.path("spool/tmp")), names(&bench.path("relay/tmp"))].concat();
    expect(format!("tmp holds {litter:?}"), litter.is_empty());
    match &row.outcome {
        Kept => {
            expect("it is still waited for".into(), in_flight.is_none());
            expect("what is kept is not ours".into(), returned.is_some_and(|kept| is_ours(bench, kept)));
        }
        other => {
            expect("it was kept".into(), returned.is_none());
            expect("the command that is waited for changed".into(), in_flight == before);
            match other {
                Dead(reason) => {
                    let found = bench.reason("relay/dead", &name);
                    expect(format!("the reason is\n  {found}\nnot\n  {reason}"), found == *reason);
                }
                Dropped(words) => expect(format!("the log lacks '{words}': {log}"), log.contains(words)),
                _ => {}
            }
        }
    }
    violations
}

/// Whether a kept answer is our command in everything but status, results and the time of its end.
fn is_ours(bench: &Bench, mut kept: Command) -> bool {
    let is_final = kept.status.is_final();
    let sent = Command::parse(bench.ours.1.to_string().as_bytes()).unwrap();
    (kept.status, kept.results, kept.finish_time) = (sent.status, sent.results.clone(), sent.finish_time);
    is_final && kept.to_json() == sent.to_json()
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
            dead(format!("command {ours} was not sent to {other_queueloc}")),
        ),
        row(
            "an answer to another agent's command",
            bytes(swapped),
            dead(format!("command {} was not sent to {own_queueloc}", bench.other.0)),
        ),
        forged("an unknown command", |a| a["id"] = 5.into(), dead(format!("command {}-5 is not known", ours.action))),
        forged(
            "a known command of an unknown action",
            |a| a["action"]["id"] = 5.into(),
            dead(format!("command 5-{} is not known", ours.command)),
        ),
        forged(
            "another name",
            |a| a["action"]["name"] = "something else".into(),
            dead(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "another operation",
            |a| a["action"]["operations"][0]["module"] = "agentdestroy".into(),
            dead(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "another end",
            |a| a["action"]["expireafter"] = "2099-01-01T00:00:00Z".into(),
            dead(format!("command {ours}: {OTHER_ACTION}")),
        ),
        forged(
            "no answer",
            |a| a["status"] = "sent".into(),
            dead(format!("command {ours}: status 'sent' is not an answer")),
        ),
        forged(
            "not even sent",
            |a| a["status"] = "prepared".into(),
            dead(format!("command {ours}: status 'prepared' is not an answer")),
        ),
        forged(
            "an unknown status",
            |a| a["status"] = "great".into(),
            dead("field 'status': is not a command's status"),
        ),
        forged("other signatures", |a| a["action"]["pgpsignatures"] = json!(["x"]), Kept),
        forged("another description", |a| a["action"]["description"] = json!({"author": "me"}), Kept),
        forged("another agent name", |a| a["agent"]["name"] = "boss".into(), Kept),
        forged("an end in the future", |a| a["finishtime"] = "2099-01-01T00:00:00Z".into(), Kept),
        forged("no results", |a| a["results"] = Value::Null, Kept),
        forged("failed", |a| a["status"] = "failed".into(), Kept),
    ]
}

fn malformed(bench: &Bench) -> Vec<Row> {
    let change =
        |what, change: fn(&mut Value), reason: &str| row(what, bytes(bench.answer(change).to_string()), dead(reason));
    let half = &bench.answer(|_| {}).to_string()[..300];
    let twice = bench.answer(|_| {}).to_string().replacen("{", "{\"status\":\"failed\",", 1);
    let column = twice.len();
    let large = bench.answer(|a| a["action"]["threat"] = json!({"x": "t".repeat(3 << 20)})).to_string();
    let size = large.len() - bench.answer(|a| a["action"] = Value::Null).to_string().len() + "null".len();
    vec![
        row("no JSON", bytes("}"), dead("not acceptable JSON: expected value at line 1 column 1")),
        row("an empty object", bytes("{}"), dead("field 'id': is missing")),
        row("an array, copied minutes ago", old("[1]"), dead("not acceptable JSON: it is an array, not an object")),
        row("a part, just now", bytes(half), Left),
        row("a part, copied minutes ago", old(half), dead("the JSON text ends in the middle (empty or half-written)")),
        row(
            "a field twice",
            bytes(twice),
            dead(format!(
                "not acceptable JSON: the key 'status' stands twice in one object at line 1 column {}",
                column
            )),
        ),
        row(
            "an action of three megabytes",
            bytes(large),
            dead(format!("field 'action': has {size} bytes, the limit is 2097152")),
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
        let make = bytes(bench.answer(|_| {}).to_string());
        Row { what, name: name.to_vec(), make, outcome }
    };
    let link = |_: &Bench, path: &std::path::Path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    let pipe = |_: &Bench, path: &std::path::Path| rustix::fs::mkfifoat(CWD, path, Mode::RWXU).unwrap();
    vec![
        row("as large as allowed", padded(16 << 20), Kept),
        row("one byte too large", padded((16 << 20) + 1), dead("has 16777217 bytes, the limit is 16777216")),
        row("a link", Box::new(link), dead("is a symbolic link; drop the file itself")),
        row("a pipe", Box::new(pipe), dead("is a pipe; drop a regular file")),
        row(
            "a directory",
            Box::new(|_, path| std::fs::create_dir(path).unwrap()),
            dead("is a directory; drop a regular file"),
        ),
        named("a name that has run out", b"1000000000000000.1000000000000001.x.json", Expired),
        named("a name from before 1970", b"-000000000000001.-00000000000001.x.json", Kept),
        named("a name that is no UTF-8", b"\xff\xfe.json", Kept),
        named("a name with an escape sequence", b"\x1b[31m\n.json", Kept),
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
        with("results that no string can hold", r#"[{"elements": "\u0000\ud800"}]"#, Kept),
        with("a number out of range", r#"[{"elements": 1e999}]"#, Kept),
        with("a key twice in the results", r#"[{"elements": {"a": 1, "a": 2}}]"#, Kept),
        with("results as deep as allowed", &deep(126), Kept),
        with("deep results", &deep(127), dead(TOO_DEEP)),
        with("results like a well", &deep(4_000_000), dead(TOO_DEEP)),
        with("deep brackets in a string", &format!(r#"["\\\"{}"]"#, "[".repeat(100_000)), Kept),
        with("a million elements", &format!(r#"[{{"elements": [{}1]}}]"#, "1,".repeat(1_000_000)), Kept),
        with("words of SQL", r#"[{"elements": "'; DROP TABLE commands; --"}]"#, Kept),
    ]
}

/// Answers that come when nobody waits for them any more.
fn late(bench: &Bench) -> Vec<Row> {
    let ended_as = |status: &'static str, change: fn(&mut Value)| -> Make {
        Box::new(move |bench, path| {
            let name = bench.ours.0.file_name();
            std::fs::remove_file(bench.path("spool/command/inflight").join(&name)).unwrap();
            let ended = answer(&bench.ours, |a| a["status"] = status.into()).to_string();
            std::fs::write(bench.path("spool/command/done").join(name), ended).unwrap();
            std::fs::write(path, bench.answer(change).to_string()).unwrap();
        })
    };
    let forget = |change: fn(&mut Value)| -> Make {
        Box::new(move |bench, path| {
            std::fs::remove_file(bench.path("spool/command/inflight").join(bench.ours.0.file_name())).unwrap();
            std::fs::write(path, bench.answer(change).to_string()).unwrap();
        })
    };
    let (ours, ended): (CommandRef, CommandRef) = (bench.ours.0, bench.ended.0);
    let by_another = answer(&bench.ended, |a| a["agent"]["queueloc"] = "linux.some.body".into());
    let failed = answer(&bench.ended, |a| a["status"] = "failed".into());
    vec![
        row(
            "answered before",
            ended_as("success", |a| a["status"] = "failed".into()),
            Dropped(format!("(duplicate): command {ours} has ended as success before, the first answer stays")),
        ),
        row(
            "answered before, by another agent",
            ended_as("success", |a| a["agent"]["queueloc"] = "linux.some.body".into()),
            dead(format!("command {ours} was not sent to linux.some.body")),
        ),
        row(
            "expired before",
            ended_as("expired", |a| a["status"] = "success".into()),
            dead(format!("command {ours} has expired before its answer came")),
        ),
        row(
            "expired before, as the agent says too",
            ended_as("expired", |a| a["status"] = "expired".into()),
            Dropped(format!("(duplicate): command {ours} has ended as expired before, the first answer stays")),
        ),
        row(
            "ended and deleted",
            bytes(failed.to_string()),
            Dropped("has ended as success before, the first answer stays".into()),
        ),
        row(
            "ended and deleted, by another agent",
            bytes(by_another.to_string()),
            dead(format!("command {ended} was not sent to linux.some.body")),
        ),
        row("its file is lost", forget(|_| {}), Kept),
        row(
            "its file is lost, and the action is another",
            forget(|a| a["action"]["target"] = "all".into()),
            dead(format!("command {}: its action is not the one that was sent", bench.ours.0)),
        ),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [forged(bench), malformed(bench), files(bench), contents(bench), late(bench)].into_iter().flatten().collect()
}

/// A target that looks into results must work whatever an agent has put there.
pub fn what_was_kept_does_not_spoil_targets(bench: &Bench) {
    for row in contents(bench).iter().filter(|row| matches!(row.outcome, Kept)) {
        bench.reset();
        (row.make)(bench, &bench.path("relay/mig.agt.results").join("hostile.json"));
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
