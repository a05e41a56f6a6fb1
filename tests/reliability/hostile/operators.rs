//! Operators' mistakes: files in command/ready and command/returned that do not belong there.

use super::bench::Outcome::{LeftAlone, Stays};
use super::bench::{Bench, Outcome, Place, Row, bytes, in_words, made, pipe, refused};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

fn ready(
    what: &str,
    name: &str,
    make: impl Fn(&Bench, &Path) -> Result<(), String> + 'static,
    outcome: Outcome,
) -> Row {
    made(what, make, outcome).at(Place::Ready).named(name)
}

fn returned(
    what: &str,
    name: &str,
    make: impl Fn(&Bench, &Path) -> Result<(), String> + 'static,
    outcome: Outcome,
) -> Row {
    made(what, make, outcome).at(Place::Returned).named(name)
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
        ready("a copy that is no .json", "backup", sent(|_| {}), LeftAlone),
        ready("a hidden copy", ".backup.json", sent(|_| {}), LeftAlone),
        ready(
            "a link",
            &own,
            |_, path| in_words(symlink("/etc/passwd", path)),
            Stays("is a symbolic link; drop the file itself; it stays"),
        ),
        ready(
            "a directory",
            "5-5.json",
            |_, path| in_words(std::fs::create_dir(path)),
            Stays("is a directory; drop a regular file; it stays"),
        ),
        ready(
            "a terabyte",
            "5-5.json",
            |_, path| in_words(File::create(path).and_then(|file| file.set_len(1 << 40))),
            Stays("has 1099511627776 bytes, the limit is 17825792; it stays"),
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
        returned("a pipe", "5-5.json", |_, path| pipe(path), Stays("is a pipe; drop a regular file; it stays")),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [in_ready(bench), in_returned(bench)].into_iter().flatten().collect()
}
