//! Operators' mistakes: files in command/ready and command/returned that do not belong there.

use crate::bench::{Bench, Make, answer, bytes};
use crate::common::names;
use serde_json::{Value, json};

/// What becomes of a file.
enum Outcome {
    /// It lies in action/invalid with this reason.
    Refused(String),
    /// It stays, and the log says this of it.
    Left(&'static str),
    /// It is nobody's business.
    PassedOver,
}

use Outcome::{Left, PassedOver, Refused};

pub struct Row {
    what: &'static str,
    stage: &'static str,
    name: String,
    make: Make,
    outcome: Outcome,
}

fn ready(what: &'static str, name: &str, make: Make, outcome: Outcome) -> Row {
    Row { what, stage: "ready", name: name.into(), make, outcome }
}

fn returned(what: &'static str, name: &str, make: Make, outcome: Outcome) -> Row {
    Row { what, stage: "returned", name: name.into(), make, outcome }
}

fn refused(reason: impl Into<String>) -> Outcome {
    Refused(reason.into())
}

fn in_ready(bench: &Bench) -> Vec<Row> {
    let own = bench.ours.0.file_name();
    let sent = |change: fn(&mut Value)| {
        let mut command = bench.ours.1.clone();
        change(&mut command);
        bytes(command.to_string())
    };
    let reference = bench.ours.0;
    let misnamed = || refused(format!("is command {reference}; give it that name, {reference}.json, to have it sent"));
    let link = |_: &Bench, path: &std::path::Path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    let action = bench.sandbox.sign(bench.sandbox.draft("not a command")).to_string();
    let other_id = if reference.command.get() == 5 { "6" } else { "5" };
    vec![
        ready("no JSON", "5-5.json", bytes("hello"), refused("not acceptable JSON: expected value at line 1 column 1")),
        ready("nothing", &own, bytes(""), refused("the JSON text ends in the middle (empty or half-written)")),
        ready("an action", "5-5.json", bytes(action), refused("field 'id': is missing")),
        ready("no agent", &own, sent(|c| c["agent"] = Value::Null), refused("field 'agent': is missing")),
        ready(
            "no agent's name",
            &own,
            sent(|c| c["agent"]["name"] = "".into()),
            refused("field 'agent.name': is empty"),
        ),
        ready(
            "a queue that is a path",
            &own,
            sent(|c| c["agent"]["queueloc"] = "../x".into()),
            refused(
                "field 'agent.queueloc': '../x' is not a queueloc such as linux.host.example.net.58b3mndjmbb00: \
                it may hold letters, digits, '_', '-' and single dots only",
            ),
        ),
        ready("no status", &own, sent(|c| c["status"] = Value::Null), refused("field 'status': is missing")),
        ready("no id", &own, sent(|c| c["id"] = 0.into()), refused("field 'id': is missing")),
        ready("a copy under a name of its own", "backup.json", sent(|_| {}), misnamed()),
        ready(
            "a command under another's name",
            &format!("{}-{other_id}.json", reference.action),
            sent(|_| {}),
            misnamed(),
        ),
        ready("a copy that is no .json", "backup", sent(|_| {}), PassedOver),
        ready("a hidden copy", ".backup.json", sent(|_| {}), PassedOver),
        ready("a link", &own, Box::new(link), Left("is a symbolic link; drop the file itself; it stays")),
        ready(
            "a directory",
            "5-5.json",
            Box::new(|_, path| std::fs::create_dir(path).unwrap()),
            Left("is a directory; drop a regular file; it stays"),
        ),
        ready(
            "a terabyte",
            "5-5.json",
            Box::new(|_, path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
            Left("has 1099511627776 bytes, the limit is 17825792; it stays"),
        ),
    ]
}

fn in_returned(bench: &Bench) -> Vec<Row> {
    let own = bench.ours.0.file_name();
    let answered = |change: fn(&mut Value)| bytes(bench.answer(change).to_string());
    let reference = bench.ours.0;
    vec![
        returned("no JSON", &own, bytes("{]"), refused("not acceptable JSON: key must be a string at line 1 column 2")),
        returned(
            "a command without its answer",
            &own,
            answered(|c| c["status"] = "sent".into()),
            refused("field 'status': 'sent' is not an answer"),
        ),
        returned(
            "a status that is none",
            &own,
            answered(|c| c["status"] = "done".into()),
            refused("field 'status': is not a command's status"),
        ),
        returned(
            "results that are no list",
            &own,
            answered(|c| c["results"] = json!({})),
            refused("field 'results': is not an array"),
        ),
        returned(
            "an answer under a name of its own",
            "answer.json",
            answered(|_| {}),
            refused(format!("is command {reference}; give it that name, {reference}.json, to have it stored")),
        ),
        returned(
            "a pipe",
            "5-5.json",
            Box::new(|_, path| {
                rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
            }),
            Left("is a pipe; drop a regular file; it stays"),
        ),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [in_ready(bench), in_returned(bench)].into_iter().flatten().collect()
}

/// Puts a file into a stage beside a good one and runs. Gives what is wrong.
pub fn attempt(bench: &Bench, row: &Row) -> Vec<String> {
    bench.reset();
    let stage = bench.path("spool/command").join(row.stage);
    let own = bench.path("spool/command/inflight").join(bench.ours.0.file_name());
    std::fs::remove_file(own).unwrap();
    (row.make)(bench, &stage.join(&row.name));
    let good = stage.join(bench.other.0.file_name());
    let (worker, next) = match row.stage {
        "ready" => ("command-ready", "inflight"),
        _ => ("command-returned", "done"),
    };
    let inflight = bench.path("spool/command/inflight").join(bench.other.0.file_name());
    std::fs::rename(inflight, &good).unwrap();
    if row.stage == "returned" {
        std::fs::write(&good, answer(&bench.other, |_| {}).to_string()).unwrap();
    }
    let log = match bench.run(worker) {
        Ok(log) => log,
        Err(problem) => return vec![format!("{}: {problem}", row.what)],
    };
    let mut violations = Vec::new();
    let mut expect = |what: String, holds: bool| {
        if !holds {
            violations.push(format!("{}: {what}; log: {}", row.what, log.lines().last().unwrap_or_default()));
        }
    };
    expect("the good one did not go on".into(), bench.command(next, bench.other.0).is_some());
    let went_on = names(&bench.path("spool/command").join(next));
    expect(format!("{next} holds {went_on:?}"), went_on.len() == 1);
    let still_there = stage.join(&row.name).symlink_metadata().is_ok();
    match &row.outcome {
        Refused(reason) => {
            expect("it is still there".into(), !still_there);
            let invalid = names(&bench.path("spool/action/invalid"));
            expect(format!("action/invalid holds {invalid:?}"), invalid.contains(&row.name));
            let found = bench.reason("spool/action/invalid", &row.name);
            expect(format!("the reason is\n  {found}\nnot\n  {reason}"), found == *reason);
        }
        Left(words) => {
            let told = format!("{worker}: command/{}/{}: {words}", row.stage, row.name);
            expect(format!("it is gone, or the log lacks\n  {told}"), still_there && log.contains(&told));
        }
        PassedOver => expect("it is gone".into(), still_there),
    }
    violations
}
